"""A docs page in its older shape, of another API, from its text to the spec."""

from tests.scripts.importing import Json, imported

PAGE = """\
# Source: https://docs.example/a.md

# Source: https://docs.example/b.md

# List pets

> List pets.

**Scopes**: `pets:read`

```yaml
a sample, not the block
```

## OpenAPI

````yaml get /pets/{owner}
paths:
  path: /pets/{owner}
  method: get
  request:
    security:
      - title: api token
        parameters:
          query: {}
          header:
            Authorization:
              type: http
              scheme: bearer
          cookie: {}
      - title: basic
        parameters:
          query: {}
          header:
            Authorization:
              type: http
              scheme: basic
          cookie: {}
    parameters:
      path:
        owner:
          schema:
            - type: string
              required: true
              examples:
                - 25921e-5
                - no
      query:
        sort:
          schema:
            - type: array
              items:
                allOf:
                  - type: string
              required: false
              title: Sort
              default: &ref_0
                - '-1'
            - type: 'null'
              required: false
              title: Sort
              default: *ref_0
          style: form
          explode: false
      header: {}
      cookie: {}
    body: {}
    codeSamples:
      - lang: sh
        source: |
          ```
          curl
          ```
  response:
    '200':
      application/json:
        schemaArray:
          - type: object
            properties:
              items:
                allOf:
                  - type: array
                    items:
                      oneOf:
                        - $ref: '#/components/schemas/Cat'
                        - $ref: '#/components/schemas/Dog'
                      discriminator:
                        propertyName: kind
                        mapping:
                          cat: '#/components/schemas/Cat'
                          dog: Dog
              tags:
                allOf:
                  - type: object
                    additionalProperties:
                      type: string
                    propertyNames:
                      maxLength: 40
            refIdentifier: '#/components/schemas/Pets'
            requiredProperties:
              - items
        examples:
          example:
            value:
              items: <array>
        description: OK
    '204':
      _mintlify/placeholder:
        schemaArray:
          - type: any
            description: None
        examples: {}
        description: None
  deprecated: false
  type: path
components:
  schemas:
    Cat:
      type: object
      required:
        - kind
      properties:
        kind:
          type: string
          const: cat
        lives:
          anyOf:
            - type: integer
              exclusiveMinimum: 0
            - type: 'null'
    Dog:
      type: object
      required:
        - kind
      properties:
        kind:
          type: string
          const: dog
        size:
          type: array
          prefixItems:
            - type: number
            - enum:
                - cm
                - null
          minItems: 2
          maxItems: 2

````
"""


def spec_of_page() -> Json:
    return imported(PAGE, "*", operations={}, schemas={"Dog": "Hound"})


def operation_of_page() -> Json:
    operation: Json = spec_of_page()["paths"]["/pets/{owner}"]["get"]
    return operation


def test_heading_and_prose_are_summary_and_description() -> None:
    operation = operation_of_page()
    assert operation["summary"] == "List pets"
    assert operation["description"] == (
        "List pets.\n\n**Scopes**: `pets:read`\n\n```yaml\na sample, not the block\n```"
    )


def test_the_mapping_of_a_discriminator_follows_renamed_schemas() -> None:
    pets = spec_of_page()["components"]["schemas"]["Pets"]
    assert pets["required"] == ["items"]
    assert pets["properties"]["items"]["items"] == {
        "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Hound"}],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {"cat": "#/components/schemas/Cat", "dog": "Hound"},
        },
    }


def test_words_of_openapi_3_1_are_translated() -> None:
    schemas = spec_of_page()["components"]["schemas"]
    assert schemas["Cat"]["properties"] == {
        "kind": {"type": "string", "enum": ["cat"]},
        "lives": {
            "allOf": [{"type": "integer", "minimum": 0, "exclusiveMinimum": True}],
            "nullable": True,
        },
    }
    positions = [{"type": "number"}, {"enum": ["cm"], "nullable": True}]
    assert schemas["Hound"]["properties"]["size"] == {
        "type": "array",
        "items": {"anyOf": positions},
        "x-prefixItems": positions,
        "minItems": 2,
        "maxItems": 2,
    }
    assert schemas["Pets"]["properties"]["tags"]["x-propertyNames"] == {"maxLength": 40}


def test_parameters_keep_their_serialization_and_may_be_null() -> None:
    assert operation_of_page()["parameters"] == [
        {
            "in": "path",
            "name": "owner",
            "required": True,
            "schema": {"type": "string", "x-examples": [0.25921, "no"]},
        },
        {
            "in": "query",
            "name": "sort",
            "style": "form",
            "explode": False,
            "schema": {
                "allOf": [{"type": "array", "items": {"type": "string"}}],
                "nullable": True,
                "title": "Sort",
                "default": ["-1"],
            },
        },
    ]


def test_two_schemes_in_one_header_are_alternatives() -> None:
    spec = spec_of_page()
    assert spec["security"] == [{"api-token": []}, {"basic": []}]
    assert spec["components"]["securitySchemes"] == {
        "api-token": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic"},
    }


def test_responses_have_no_filler_and_no_placeholder() -> None:
    assert operation_of_page()["responses"] == {
        "200": {
            "description": "OK",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pets"}}},
        },
        "204": {"description": "None"},
    }
