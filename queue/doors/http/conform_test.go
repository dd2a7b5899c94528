package httpdoor_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/pb33f/libopenapi"
	"github.com/santhosh-tekuri/jsonschema/v6"

	httpdoor "decom/queue/doors/http"
)

// openAPI is the file for clients.
const openAPI = "../../../deploy/examples/openapi.yaml"

// loaded is the file as a tree of values; it is read once and never changed.
var loaded = sync.OnceValues(func() (map[string]any, error) {
	text, err := os.ReadFile(openAPI)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	asJSON, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return nil, err
	}
	return doc.(map[string]any), nil
})

func at(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
		if m, _ := v.(map[string]any); m["$ref"] != nil && m != nil {
			doc, _ := loaded()
			v = at(any(doc), strings.Split(strings.TrimPrefix(m["$ref"].(string), "#/"), "/")...)
		}
	}
	return v
}

// conforms holds an exchange against the file: the address, the status and the body must
// be those that it names.
func conforms(t *testing.T, req *http.Request, resp *http.Response, body []byte) {
	t.Helper()
	doc, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == 404 || resp.StatusCode == 405 {
		return // of addresses that the file does not have
	}
	path := req.URL.Path
	if strings.HasPrefix(path, "/v1/packs/") {
		path = "/v1/packs/{code}/{serial}"
	}
	answer := at(doc, "paths", path, strings.ToLower(req.Method), "responses", fmt.Sprint(resp.StatusCode))
	if answer == nil {
		t.Errorf("%s %s answers %d, which the OpenAPI file does not name", req.Method, path, resp.StatusCode)
		return
	}
	if headers, _ := at(answer, "headers").(map[string]any); headers != nil {
		for name := range headers {
			if resp.Header.Get(name) == "" {
				t.Errorf("%d without %s", resp.StatusCode, name)
			}
		}
	}
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	schema := at(answer, "content", media, "schema")
	if schema == nil {
		t.Errorf("%s %s answers %d with %q, which the OpenAPI file does not name", req.Method, path, resp.StatusCode, media)
		return
	}
	if !strings.Contains(media, "json") {
		return
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = compiled(t, doc, schema).Validate(v)
	}
	if err != nil {
		t.Errorf("%s %s %d is not as the OpenAPI file says: %v\n%s", req.Method, path, resp.StatusCode, err, body)
	}
}

func compiled(t *testing.T, doc map[string]any, schema any) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	whole := map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/here", "here": schema, "components": doc["components"]}
	if err := c.AddResource("mem:openapi", whole); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:openapi")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheOpenAPIFileIsValidAndKnowsEveryProblem(t *testing.T) {
	text, err := os.ReadFile(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(model.Model.Version, "3.1") || model.Model.Paths.PathItems.Len() != 6 {
		t.Errorf("version %s, %d paths", model.Model.Version, model.Model.Paths.PathItems.Len())
	}
	tree, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, v := range at(tree, "components", "schemas", "Problem", "properties", "code", "enum").([]any) {
		told = append(told, v.(string))
	}
	slices.Sort(told)
	if have := slices.Sorted(maps.Keys(httpdoor.Kinds())); !slices.Equal(have, told) {
		t.Errorf("the door has %v\nthe file   %v", have, told)
	}
	for name := range at(tree, "components", "schemas").(map[string]any) {
		compiled(t, tree, map[string]any{"$ref": "#/components/schemas/" + name})
	}
}
