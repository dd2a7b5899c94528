package scan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxEvent is the size limit of one scan event in bytes (contract.md section 4).
const MaxEvent = 64 << 10

// maxConflict bounds what of a conflict goes on the ledger, in bytes.
const maxConflict = 600

// Entry says how the pack's data came to be known.
type Entry string

// The two entries of contract.md section 4.
const (
	Scanned Entry = "scanned" // read from the data carrier
	Manual  Entry = "manual"  // typed by a person
)

// Fields is a pack as a device spelled it out, not checked yet.
type Fields struct {
	Scheme string `json:"scheme"`
	Code   string `json:"code"`
	Serial string `json:"serial"`
	Batch  string `json:"batch"`
	Expiry string `json:"expiry"`
}

// Meta is what the queue knows of a message beside its body.
type Meta struct {
	Site, Device string    // from the subject
	Seq          uint64    // stream sequence in DECOM_SCANS
	Stored       time.Time // when the stream took it
	MsgID        string    // header Nats-Msg-Id, or empty
}

// Event is one scan event (contract.md section 4), decoded and checked except
// for the text of the data carrier, which is gs1's work.
type Event struct {
	ID       string // unique per scan; never empty
	Op       Op
	Entry    Entry
	Scan     string  // raw text of the data carrier; empty when Fields is set
	Fields   *Fields // the pack spelled out, instead of Scan
	At       time.Time
	Ref      string
	Operator string
	ATD      *bool // anti-tampering device checked by a person; nil = not said
	// Conflict is what a sender knows of the pack that contradicts its code, as text for
	// people: such a scan is rejected and never sent. Empty: nothing.
	Conflict string
	Meta
}

// Source returns SITE/DEVICE.
func (e Event) Source() string { return e.Site + "/" + e.Device }

// Timed says whether the device gave its own clock; without it there is no
// automatic undo (protocol.md section 4 rule 8).
func (e Event) Timed() bool { return !e.At.IsZero() }

// Key returns the event's order key.
func (e Event) Key() Key {
	t := e.Stored
	if e.Timed() && e.At.Before(t) {
		t = e.At
	}
	return NewKey(t.UnixMilli(), e.Source(), e.ID)
}

// Malformed says which field of a scan event or pack is wrong, and why.
type Malformed struct {
	Field string // JSON path, or "" for the whole body
	Why   string // one clause
}

func (e *Malformed) Error() string {
	if e.Field == "" {
		return e.Why
	}
	return e.Field + ": " + e.Why
}

// Decode reads one scan event. On error, a *[Malformed], the event still carries
// its source and an id (the best that could be found), so that its rejection can be
// reported to whoever sent it. Unknown fields are ignored; a structured
// CloudEvent is unwrapped. A source that says a DEVICE must say one of contract.md section 3.
func Decode(data []byte, m Meta) (Event, error) {
	e, err := decode(data, m)
	if err == nil && m.Device != "" && !ValidToken(m.Device) {
		err = &Malformed{Field: "subject", Why: "its DEVICE must be 1 to 64 of A-Z a-z 0-9 _ -"}
	}
	return e, err
}

func decode(data []byte, m Meta) (Event, error) {
	e := Event{ID: fallbackID(m), Op: Supply, Entry: Scanned, Meta: m}
	if len(data) > MaxEvent {
		return e, &Malformed{Why: fmt.Sprintf("%d bytes, more than the %d allowed", len(data), MaxEvent)}
	}
	j, err := decodeJSON(data)
	if err != nil {
		e.take(j.ID)
		return e, err
	}
	if j.SpecVersion != nil {
		outer := j.ID
		e.take(outer)
		if j, err = decodeJSON(j.Data); err != nil {
			if outer == nil {
				e.take(j.ID)
			}
			return e, &Malformed{Field: "data", Why: err.Error()}
		}
		if outer != nil {
			j.ID = outer
		}
	}
	return e, e.fill(j)
}

// take makes a valid id the event's before the rest is read: if another field is wrong,
// the sender still knows its scan by this one.
func (e *Event) take(id *string) {
	if id != nil && validID(*id) {
		e.ID = *id
	}
}

// fallbackID is the id of an event that brings none of its own.
func fallbackID(m Meta) string {
	if validID(m.MsgID) {
		return m.MsgID
	}
	return strconv.FormatUint(m.Seq, 10) + "@DECOM_SCANS"
}

func decodeJSON(data []byte) (eventJSON, error) {
	if j, ok := readEvent(string(data)); ok {
		return j, nil
	}
	var j eventJSON // what readEvent took of it does not count
	if len(bytes.TrimSpace(data)) == 0 {
		return j, &Malformed{Why: "empty message"}
	}
	if !utf8.Valid(data) {
		return j, &Malformed{Why: "not UTF-8 text"}
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return j, jsonFault(err)
	}
	return j, nil
}

func jsonFault(err error) *Malformed {
	switch err := err.(type) {
	case *json.UnmarshalTypeError:
		return &Malformed{Field: err.Field, Why: "has a JSON " + err.Value + ", wants a " + err.Type.Kind().String()}
	case *json.SyntaxError:
		return &Malformed{Why: fmt.Sprintf("not JSON: %s at byte %d", err.Error(), err.Offset)}
	}
	return &Malformed{Why: "not JSON: " + err.Error()}
}

func (e *Event) fill(j eventJSON) error {
	if j.ID != nil {
		if !validID(*j.ID) {
			return &Malformed{Field: "id", Why: "must be 1 to 64 printable ASCII characters"}
		}
		e.ID = *j.ID
	}
	if j.V != nil && *j.V != 1 {
		return &Malformed{Field: "v", Why: fmt.Sprintf("version %d is not known, only 1", *j.V)}
	}
	e.Ref, e.Operator, e.ATD = j.Ref, j.Operator, j.ATD
	if e.Conflict = j.Conflict; len(e.Conflict) > maxConflict {
		e.Conflict = strings.ToValidUTF8(e.Conflict[:maxConflict], "") + "..."
	}
	op, err := ParseOp(j.Op)
	if err != nil {
		return err // e keeps the default: its rejection must be writable
	}
	e.Op = op
	switch Entry(j.Entry) {
	case "", Scanned:
	case Manual:
		e.Entry = Manual
	default:
		return &Malformed{Field: "entry", Why: fmt.Sprintf("%q is neither scanned nor manual", clip(j.Entry))}
	}
	if j.At != "" {
		at, err := time.Parse(time.RFC3339Nano, j.At)
		if err != nil {
			return &Malformed{Field: "at", Why: fmt.Sprintf("%q is not an RFC 3339 time", clip(j.At))}
		}
		if y := at.Year(); y < 1970 || y > 2200 {
			return &Malformed{Field: "at", Why: fmt.Sprintf("the year %d cannot be right", y)}
		}
		e.At = at
	}
	switch {
	case j.Scan != nil && j.Pack != nil:
		return &Malformed{Field: "pack", Why: "give scan or pack, not both"}
	case j.Scan != nil:
		e.Scan = *j.Scan
	case j.Pack != nil:
		e.Fields = j.Pack
	default:
		return &Malformed{Field: "scan", Why: "neither scan nor pack is given"}
	}
	return nil
}

func validID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// ValidToken says whether s may be a SITE or a DEVICE in a subject.
func ValidToken(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
