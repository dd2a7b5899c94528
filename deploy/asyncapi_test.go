package deploy

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// asyncAPI returns examples/asyncapi.yaml as JSON values, after edit.
func asyncAPI(t *testing.T, edit func(string) string) map[string]any {
	t.Helper()
	var written any
	if err := yaml.Unmarshal([]byte(edit(read(t, "examples/asyncapi.yaml"))), &written); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(written)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// asyncAPISchema is the standard's own.
func asyncAPISchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(read(t, "testdata/asyncapi-3.0.0.schema.json")))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("asyncapi.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("asyncapi.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTheAsyncAPIFileIsAsTheStandardHasIt: valid by the schema of AsyncAPI 3.0.0, which
// refuses the same file with a mistake in it.
func TestTheAsyncAPIFileIsAsTheStandardHasIt(t *testing.T) {
	s := asyncAPISchema(t)
	for _, tt := range []struct {
		name, old, replacement string
		ok                     bool
	}{
		{name: "as it is", ok: true},
		{"no version", "asyncapi: 3.0.0\n", "", false},
		{"an action that is none", "action: receive", "action: subscribe", false},
		{"an unknown key", "defaultContentType:", "contentTypes:", false},
		{"a server without protocol", "    protocol: nats\n", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc := asyncAPI(t, func(text string) string {
				if !strings.Contains(text, tt.old) {
					t.Fatalf("the file does not say %q", tt.old)
				}
				return strings.Replace(text, tt.old, tt.replacement, 1)
			})
			if err := s.Validate(any(doc)); (err == nil) != tt.ok {
				t.Errorf("schema: %v", err)
			}
		})
	}
}

// TestTheAsyncAPIFileNamesWhatIsThere: each reference leads somewhere, the addresses are
// the subjects of contract.md section 3, and each example fits its message's own schema.
func TestTheAsyncAPIFileNamesWhatIsThere(t *testing.T) {
	doc := asyncAPI(t, func(text string) string { return text })
	refs := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				refs++
				if !leads(doc, ref) {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(doc)
	if refs < 10 {
		t.Errorf("%d references, there are more in the file", refs)
	}
	for channel, address := range map[string]string{"scans": "decom.scan.{site}.{device}", "outcomes": "decom.outcome.{site}.{device}"} {
		if got := at(doc, "channels", channel, "address"); got != address {
			t.Errorf("%s: %v", channel, got)
		}
	}
	examples, _ := at(doc, "components", "messages", "scan", "examples").([]any)
	if len(examples) == 0 {
		t.Error("no example of a scan event")
	}
	for _, e := range examples {
		body, err := json.Marshal(at(e, "payload"))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled(t, "event.schema.json").Validate(value(t, body)); err != nil {
			t.Errorf("example %s: %v", body, err)
		}
		if _, err := decode(body); err != nil {
			t.Errorf("example %s: %v", body, err)
		}
	}
}

// leads says whether a reference finds something: in the document, or a file beside it.
func leads(doc map[string]any, ref string) bool {
	if path, ok := strings.CutPrefix(ref, "#/"); ok {
		return at(doc, strings.Split(path, "/")...) != nil
	}
	_, err := os.Stat("examples/" + ref)
	return err == nil
}

// at is what stands under the path, nil if nothing does.
func at(v any, path ...string) any {
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}
