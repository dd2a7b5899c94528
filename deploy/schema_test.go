package deploy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"decom/worker/scan"
)

// compiled returns one of the schemas of examples/, formats checked.
func compiled(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	id := ""
	for _, file := range []string{"event.schema.json", "outcome.schema.json"} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(read(t, "examples/"+file)))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		url, _ := doc.(map[string]any)["$id"].(string)
		if err := c.AddResource(url, doc); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if file == name {
			id = url
		}
	}
	s, err := c.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lines returns the JSON lines of a file that was captured from a run of the demo.
func lines(t *testing.T, name string) [][]byte {
	t.Helper()
	f, err := os.Open("examples/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all [][]byte
	for s := bufio.NewScanner(f); s.Scan(); {
		all = append(all, bytes.Clone(s.Bytes()))
	}
	if len(all) < 10 {
		t.Fatalf("%s has %d lines", name, len(all))
	}
	return all
}

func TestEventSchemaSaysWhatTheProgramTakes(t *testing.T) {
	s := compiled(t, "event.schema.json")
	const pack = `{"scheme":"GTIN","code":"03400930000007","serial":"X4F8L2","batch":"LOT42","expiry":"281100"}`
	for _, tt := range []struct {
		name, body string
		ok         bool
	}{
		{"contract's own", `{"v":1,"id":"01JD3W6Q0ZK9","op":"supply","entry":"scanned","scan":"]d2010340\u001d10L","at":"2026-11-22T10:15:30Z","ref":"BL-2026-118","operator":"robot"}`, true},
		{"the least", `{"scan":"x"}`, true},
		{"a pack", `{"pack":` + pack + `,"entry":"manual"}`, true},
		{"unknown fields", `{"scan":"x","shelf":7}`, true},
		{"fractions and a zone", `{"scan":"x","at":"2026-11-22T10:15:30.123456+01:00"}`, true},
		{"empty words mean none", `{"scan":"x","op":"","entry":"","at":""}`, true},
		{"64 characters of id", `{"scan":"x","id":"` + strings.Repeat("a", 64) + `"}`, true},
		{"CloudEvent", `{"specversion":"1.0","id":"a","source":"s","type":"t","data":{"scan":"x"}}`, true},
		{"atd", `{"scan":"x","atd_checked":false}`, true},

		{"neither scan nor pack", `{"id":"a"}`, false},
		{"both", `{"scan":"x","pack":` + pack + `}`, false},
		{"another version", `{"v":2,"scan":"x"}`, false},
		{"an operation that is none", `{"scan":"x","op":"sell"}`, false},
		{"an entry that is none", `{"scan":"x","entry":"guessed"}`, false},
		{"no zone", `{"scan":"x","at":"2026-11-22T10:15:30"}`, false},
		{"a day", `{"scan":"x","at":"2026-11-22"}`, false},
		{"empty id", `{"scan":"x","id":""}`, false},
		{"65 characters of id", `{"scan":"x","id":"` + strings.Repeat("a", 65) + `"}`, false},
		{"id not ASCII", `{"scan":"x","id":"é"}`, false},
		{"id of the wrong type", `{"scan":"x","id":7}`, false},
		{"scan of the wrong type", `{"scan":7}`, false},
		{"ref of the wrong type", `{"scan":"x","ref":7}`, false},
		{"not an object", `["x"]`, false},
		{"CloudEvent without an event", `{"specversion":"1.0","id":"a"}`, false},
		{"CloudEvent with a wrong one", `{"specversion":"1.0","id":"a","data":{"op":"supply"}}`, false},
		{"short GTIN", `{"pack":` + strings.Replace(pack, "03400930000007", "3400930000007", 1) + `}`, false},
		{"serial outside the alphabet", `{"pack":` + strings.Replace(pack, "X4F8L2", "X4 F8", 1) + `}`, false},
		{"serial of 21", `{"pack":` + strings.Replace(pack, "X4F8L2", strings.Repeat("A", 21), 1) + `}`, false},
		{"expiry with dashes", `{"pack":` + strings.Replace(pack, "281100", "28-11-00", 1) + `}`, false},
		{"pack without batch", `{"pack":{"scheme":"GTIN","code":"03400930000007","serial":"X","expiry":"281100"}}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := s.Validate(value(t, []byte(tt.body)))
			if (err == nil) != tt.ok {
				t.Errorf("schema: %v", err)
			}
			if _, err := decode([]byte(tt.body)); (err == nil) != tt.ok {
				t.Errorf("program: %v", err)
			}
		})
	}
}

// decode reads an event as the worker does, a spelled-out pack included.
func decode(body []byte) (scan.Event, error) {
	e, err := scan.Decode(body, scan.Meta{Site: "s", Device: "d", Seq: 1})
	if f := e.Fields; err == nil && f != nil {
		_, err = scan.NewPack(scan.Scheme(f.Scheme), f.Code, f.Serial, f.Batch, f.Expiry)
	}
	return e, err
}

// The demo's robots send what devices send, malformed events included: the schema
// refuses what the program refuses.
func TestEventSchemaAgreesWithTheProgramOnCapturedEvents(t *testing.T) {
	s := compiled(t, "event.schema.json")
	for _, body := range lines(t, "events.jsonl") {
		var v any
		schema := json.Unmarshal(body, &v)
		if schema == nil {
			schema = s.Validate(v)
		}
		if _, program := decode(body); (schema == nil) != (program == nil) {
			t.Errorf("schema: %v; program: %v; event: %s", schema, program, body)
		}
	}
}

func TestOutcomeSchemaTakesEveryCapturedOutcome(t *testing.T) {
	s := compiled(t, "outcome.schema.json")
	seen := map[string]int{}
	for _, body := range lines(t, "outcomes.jsonl") {
		if err := s.Validate(value(t, body)); err != nil {
			t.Errorf("%v: %s", err, body)
		}
		var out scan.Outcome
		if err := json.Unmarshal(body, &out); err != nil {
			t.Fatal(err)
		}
		seen[string(out.Result)]++
	}
	for _, r := range []scan.Result{scan.Done, scan.Duplicate, scan.Refused, scan.Alert, scan.Rejected} {
		if seen[string(r)] == 0 {
			t.Errorf("no %s was captured: %v", r, seen)
		}
	}
}

func outcome(op scan.Op, result scan.Result, reason scan.Reason) scan.Outcome {
	o := scan.Outcome{V: 1, EventID: "01JD3W6Q0ZK9", Site: "chu-nord", Device: "rowa-1", Account: "chu-exemple", Op: op,
		Result: result, Reason: reason, StateReasons: []string{}, Attempts: 1, At: "2026-11-22T10:15:31.201Z",
		Message: scan.Message(op, result, reason)}
	if result == scan.Rejected {
		o.Attempts, o.Offset = 0, new(7)
		return o
	}
	p, err := scan.NewPack(scan.GTIN, "03400930000007", "X4F8L2", "LOT42", "281100")
	if err != nil {
		panic(err) // a constant of this file
	}
	o.Pack = &p
	return o
}

func TestOutcomeSchemaTakesEveryResultReasonAndOperation(t *testing.T) {
	s := compiled(t, "outcome.schema.json")
	for _, info := range scan.Reasons() {
		for _, op := range scan.Ops() {
			body, err := json.Marshal(outcome(op, info.Result, info.Reason))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(value(t, body)); err != nil {
				t.Errorf("%v: %s", err, body)
			}
		}
	}
}

func TestOutcomeSchemaRefusesWhatIsNoOutcome(t *testing.T) {
	s := compiled(t, "outcome.schema.json")
	for name, spoil := range map[string]func(map[string]any){
		"another result":        func(o map[string]any) { o["result"] = "failed" },
		"refused, no reason":    func(o map[string]any) { o["result"], o["reason"] = "refused", "" },
		"no event id":           func(o map[string]any) { delete(o, "event_id") },
		"done without its pack": func(o map[string]any) { delete(o, "pack") },
		"a time that is none":   func(o map[string]any) { o["at"] = "yesterday" },
		"one language":          func(o map[string]any) { o["message"] = map[string]any{"en": "Done."} },
		"rejected, yet sent":    func(o map[string]any) { o["result"], o["reason"] = "rejected", "layout" },
	} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(outcome(scan.Supply, scan.Done, scan.NoReason))
			if err != nil {
				t.Fatal(err)
			}
			v := value(t, body).(map[string]any)
			spoil(v)
			if s.Validate(v) == nil {
				t.Errorf("taken: %v", v)
			}
		})
	}
}

// Both schemas and the AsyncAPI file list the operations; the program has the last word.
func TestSchemasNameTheProgramsOperations(t *testing.T) {
	var want []string
	for _, op := range scan.Ops() {
		want = append(want, op.String())
	}
	for file, path := range map[string][]string{
		"event.schema.json":   {"$defs", "event", "properties", "op", "enum"},
		"outcome.schema.json": {"properties", "op", "enum"},
	} {
		v := value(t, []byte(read(t, "examples/"+file)))
		for _, key := range path {
			v = v.(map[string]any)[key]
		}
		var have []string
		for _, name := range v.([]any) {
			if name != "" {
				have = append(have, fmt.Sprint(name))
			}
		}
		if !slices.Equal(have, want) {
			t.Errorf("%s has %v, the program %v", file, have, want)
		}
	}
}
