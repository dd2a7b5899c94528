package scan

import (
	"encoding/json"

	"decom/worker/rawjson"
)

// eventJSON is a scan event as it is published; see contract.md section 4.
type eventJSON struct {
	SpecVersion *string         `json:"specversion"`
	Data        json.RawMessage `json:"data"`
	V           *int            `json:"v"`
	ID          *string         `json:"id"`
	Op          string          `json:"op"`
	Entry       string          `json:"entry"`
	Scan        *string         `json:"scan"`
	Pack        *Fields         `json:"pack"`
	At          string          `json:"at"`
	Ref         string          `json:"ref"`
	Operator    string          `json:"operator"`
	ATD         *bool           `json:"atd_checked"`
	Conflict    string          `json:"conflict"`
}

// readEvent reads the usual event: the members of contract.md section 4 and no others, nothing null.
// false: ask encoding/json.
func readEvent(text string) (j eventJSON, ok bool) {
	r := rawjson.NewReader(text)
	var seen rawjson.Names
	r.Open('{')
	for n := 0; r.More('}', n); n++ {
		switch r.Name() {
		case "id":
			r.Once(&seen, 0)
			j.ID = new(r.Str())
		case "v":
			r.Once(&seen, 1)
			v := r.Int()
			j.V = new(int(v))
		case "op":
			r.Once(&seen, 2)
			j.Op = r.Str()
		case "entry":
			r.Once(&seen, 3)
			j.Entry = r.Str()
		case "scan":
			r.Once(&seen, 4)
			j.Scan = new(r.Str())
		case "pack":
			r.Once(&seen, 5)
			j.Pack = readFields(&r)
		case "at":
			r.Once(&seen, 6)
			j.At = r.Str()
		case "ref":
			r.Once(&seen, 7)
			j.Ref = r.Str()
		case "operator":
			r.Once(&seen, 8)
			j.Operator = r.Str()
		case "atd_checked":
			r.Once(&seen, 9)
			j.ATD = new(r.Bool())
		default:
			r.Spoil()
		}
	}
	return j, r.End()
}

func readFields(r *rawjson.Reader) *Fields {
	var seen rawjson.Names
	f := &Fields{}
	r.Open('{')
	for n := 0; r.More('}', n); n++ {
		switch r.Name() {
		case "scheme":
			r.Once(&seen, 0)
			f.Scheme = r.Str()
		case "code":
			r.Once(&seen, 1)
			f.Code = r.Str()
		case "serial":
			r.Once(&seen, 2)
			f.Serial = r.Str()
		case "batch":
			r.Once(&seen, 3)
			f.Batch = r.Str()
		case "expiry":
			r.Once(&seen, 4)
			f.Expiry = r.Str()
		default:
			r.Spoil()
		}
	}
	return f
}
