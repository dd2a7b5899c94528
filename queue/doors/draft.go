package doors

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"decom/worker/scan"
)

// Draft is a scan event in the making.
type Draft struct {
	outer map[string]json.RawMessage // what goes into the queue
	inner map[string]json.RawMessage // the event's fields: outer itself, or the data of a CloudEvent
	whole bool                       // nothing was added: raw is the body
	raw   []byte
}

// FromText makes an event of the text of a data carrier.
func FromText(text string) Draft {
	fields := map[string]json.RawMessage{"scan": Text(text)}
	return Draft{outer: fields, inner: fields}
}

// FromFields makes an event of fields that are JSON already. The map is the draft's from
// then on.
func FromFields(fields map[string]json.RawMessage) Draft {
	return Draft{outer: fields, inner: fields}
}

// FromJSON makes an event of a JSON object, a structured CloudEvent among them, or of a
// JSON string that holds the text of a data carrier. body must not change afterwards.
func FromJSON(body []byte) (Draft, *scan.Malformed) {
	body = bytes.TrimSpace(body)
	if !utf8.Valid(body) {
		return Draft{}, &scan.Malformed{Why: "not UTF-8 text"}
	}
	if bytes.HasPrefix(body, []byte(`"`)) {
		var text string
		if err := json.Unmarshal(body, &text); err != nil {
			return Draft{}, &scan.Malformed{Why: "not a JSON string: " + err.Error()}
		}
		return FromText(text), nil
	}
	d := Draft{raw: body, whole: true}
	if err := json.Unmarshal(body, &d.outer); err != nil || d.outer == nil {
		if m := judge(body); m != nil {
			return Draft{}, m
		}
		return Draft{}, &scan.Malformed{Why: "not a JSON object"}
	}
	d.inner = d.outer
	if Absent(d.outer["specversion"]) {
		return d, nil
	}
	d.inner = nil
	if err := json.Unmarshal(d.outer["data"], &d.inner); err != nil || d.inner == nil {
		return Draft{}, &scan.Malformed{Field: "data", Why: "not a JSON object"}
	}
	return d, nil
}

// judge has the worker's own words for what is wrong with a body.
func judge(body []byte) *scan.Malformed {
	if _, err := scan.Decode(body, scan.Meta{MsgID: "judge"}); err != nil {
		if m, ok := err.(*scan.Malformed); ok {
			return m
		}
	}
	return nil
}

// TextOf is a text field, or "" where there is none.
func (d *Draft) TextOf(name string) (text string) {
	_ = json.Unmarshal(d.inner[name], &text) // a wrong type is told by Decode
	return text
}

// Fields is the event's fields as JSON, in a fixed order.
func (d *Draft) Fields() []byte { return Encode(d.inner) }

// ReplaceScan puts a pack in the place of the text of a data carrier.
func (d *Draft) ReplaceScan(pack json.RawMessage) {
	drop(d.inner, "scan")
	d.inner["pack"] = pack
	d.whole = false
}

// Has says whether the sender gave the field. Reading is as the worker's: a name's case
// does not matter, null and "" are ways of not giving it.
func (d *Draft) Has(name string) bool { return has(d.inner, name) }

// HasID says whether the sender gave an id, its own or the CloudEvent's.
func (d *Draft) HasID() bool { return has(d.outer, "id") || has(d.inner, "id") }

func has(fields map[string]json.RawMessage, name string) bool {
	if v, ok := fields[name]; ok {
		return !Absent(v)
	}
	for k, v := range fields {
		if strings.EqualFold(k, name) && !Absent(v) {
			return true
		}
	}
	return false
}

// Default sets a text field that the sender did not give; "" sets nothing.
func (d *Draft) Default(name, value string) {
	if value != "" && !d.Has(name) {
		drop(d.inner, name)
		d.inner[name] = Text(value)
		d.whole = false
	}
}

// DefaultID sets the id if the sender gave none.
func (d *Draft) DefaultID(id string) {
	if !d.HasID() {
		drop(d.outer, "id")
		d.outer["id"] = Text(id)
		d.whole = false
	}
}

// drop takes away other spellings of a field that gave nothing: the worker would let the
// last one count.
func drop(fields map[string]json.RawMessage, name string) {
	for k := range fields {
		if strings.EqualFold(k, name) {
			delete(fields, k)
		}
	}
}

// Body is the event as it goes into the queue: the sender's own bytes when nothing was
// added to them.
func (d *Draft) Body() []byte {
	if d.whole {
		return d.raw
	}
	if !Absent(d.outer["specversion"]) {
		d.outer["data"] = Encode(d.inner)
	}
	return Encode(d.outer)
}

// Decode completes the draft and reads it as the worker will. The event carries its id
// and source even when it is malformed.
func (d *Draft) Decode(site, device string) (body []byte, ev scan.Event, err error) {
	body = d.Body()
	ev, err = scan.Decode(body, scan.Meta{Site: site, Device: device})
	return body, ev, err
}

// NewID makes an id for a scan whose sender gave none. Sent again it is another scan.
func NewID() string { return rand.Text() }

// Absent says that a field is not given.
func Absent(v json.RawMessage) bool { return v == nil || string(v) == "null" || string(v) == `""` }

// Text encodes a JSON string. Unlike json.Marshal it leaves < > & alone, which stand in
// serials.
func Text(text string) json.RawMessage { return Encode(text) }

// Encode is json.Marshal without HTML escapes, for values that always encode.
func Encode(v any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("decom: own value does not encode: " + err.Error()) // a bug, never input
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
