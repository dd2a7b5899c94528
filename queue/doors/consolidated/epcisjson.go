package consolidated

import (
	"encoding/json"
	"io"
	"strings"
)

// jsonEvent is an event of EPCIS 2.0 in JSON-LD.
type jsonEvent struct {
	Type     string                     `json:"type"`
	IsA      string                     `json:"isA"`
	Action   string                     `json:"action"`
	Step     string                     `json:"bizStep"`
	EPCs     []string                   `json:"epcList"`
	Parent   string                     `json:"parentID"`
	Children []string                   `json:"childEPCs"`
	ILMD     map[string]json.RawMessage `json:"ilmd"`
	Refs     []struct {
		Ref string `json:"bizTransaction"`
	} `json:"bizTransactionList"`
	Withdrawn json.RawMessage `json:"errorDeclaration"`
}

// readJSON reads an EPCIS 2.0 document in JSON-LD, one event in memory at a time.
func (c *collector) readJSON(r io.Reader) error {
	j := jsonReader{c: c, d: json.NewDecoder(r)}
	err := j.document()
	if err == nil && !j.events {
		return problem("le fichier JSON n'a pas d'événements (epcisBody.eventList)", "the JSON file has no events (epcisBody.eventList)")
	}
	if _, own := err.(*Problem); err == nil || own {
		return err
	}
	return problem("octet %d : ce n'est pas du JSON EPCIS complet et correct (%v) ; rien n'a été pris",
		"byte %d: this is no complete and correct EPCIS JSON (%v); nothing was taken", j.d.InputOffset(), err)
}

type jsonReader struct {
	c      *collector
	d      *json.Decoder
	events bool
	n      int
}

// object calls member for each name of the object that comes next; member reads the value.
func (j *jsonReader) object(member func(name string) error) error {
	if err := j.want('{'); err != nil {
		return err
	}
	for j.d.More() {
		t, err := j.d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if err := member(name); err != nil {
			return err
		}
	}
	return j.want('}')
}

func (j *jsonReader) want(d json.Delim) error {
	t, err := j.d.Token()
	if err != nil {
		return err
	}
	if got, ok := t.(json.Delim); !ok || got != d {
		return problem("octet %d : « %v » où « %v » est attendu ; rien n'a été pris", "byte %d: %v where %v is wanted; nothing was taken", j.d.InputOffset(), t, d)
	}
	return nil
}

func (j *jsonReader) skip() error {
	var ignored json.RawMessage
	return j.d.Decode(&ignored)
}

func (j *jsonReader) document() error {
	err := j.object(func(name string) error {
		switch name {
		case "type":
			var kind string
			if err := j.d.Decode(&kind); err != nil {
				return err
			}
			if kind != "EPCISDocument" {
				return problem("le fichier est de type %s et non EPCISDocument", "the file's type is %s and not EPCISDocument", clip(kind))
			}
			return nil
		case "sender":
			return j.d.Decode(&j.c.list.Sender)
		case "epcisBody":
			return j.object(func(name string) error {
				switch name {
				case "eventList":
					return j.list()
				case "event":
					return j.event()
				}
				return j.skip()
			})
		}
		return j.skip()
	})
	if err != nil {
		return err
	}
	if t, err := j.d.Token(); err != io.EOF {
		return problem("après la fin du document il y a encore %v ; rien n'a été pris", "behind the end of the document there is still %v; nothing was taken", t)
	}
	return nil
}

func (j *jsonReader) list() error {
	if err := j.want('['); err != nil {
		return err
	}
	j.events = true
	for j.d.More() {
		if err := j.event(); err != nil {
			return err
		}
	}
	return j.want(']')
}

func (j *jsonReader) event() error {
	var in jsonEvent
	if err := j.d.Decode(&in); err != nil {
		return err
	}
	j.events = true
	j.n++
	e := event{
		kind: in.Type, action: in.Action, step: last(in.Step), line: j.n, epcs: in.EPCs, parent: in.Parent, children: in.Children,
		withdrawn: len(in.Withdrawn) > 0 && string(in.Withdrawn) != "null",
	}
	if e.kind == "" {
		e.kind = in.IsA
	}
	e.kind = last(e.kind)
	for name, value := range in.ILMD {
		var text string
		switch last(name) {
		case "lotNumber":
			if json.Unmarshal(value, &text) == nil {
				e.lot = text
			}
		case "itemExpirationDate":
			if json.Unmarshal(value, &text) == nil {
				e.expiry = strings.TrimSpace(text)
			} else {
				var typed struct { // a JSON-LD typed value
					Value string `json:"@value"`
				}
				_ = json.Unmarshal(value, &typed) // nothing found is refused as a missing field
				e.expiry = strings.TrimSpace(typed.Value)
			}
		}
	}
	for _, ref := range in.Refs {
		e.refs = append(e.refs, ref.Ref)
	}
	return j.c.take(&e)
}
