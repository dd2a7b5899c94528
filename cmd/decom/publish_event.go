package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"decom/worker"
	"decom/worker/scan"
)

// defaults is what the command line says for lines that do not say it themselves.
type defaults struct {
	site, device string
	op           string
	entry        string
	clock        lineClock
}

// event is a line that is ready to be published.
type event struct {
	line         int
	site, device string
	id           string
	body         []byte
	decoded      scan.Event
}

// lineClock gives a line without its own time one.
//
// A scan must carry the same id and the same time when it is published again
// (contract.md section 4), and a raw line has neither. So a file's lines count as
// scanned when the file was last written, a millisecond apart, and the id is made
// from the whole event: publishing the unchanged file again changes nothing, and
// a changed file is a new publication. What asks or takes back (verify, undo_*)
// counts as of now: a person who publishes an undo means today's state. Lines
// from a pipe count as of now, too, and so are new scans each time.
type lineClock struct {
	base time.Time // of line 1; zero = now, for every line
	last time.Time // newest time handed out as now
	now  func() time.Time
	live bool // the input is a pipe or a terminal, no file
}

// newLineClock looks at what is read: at says what the user gave (--at), and
// file is the input, if it is one that can be read twice.
func newLineClock(at time.Time, file *os.File) (lineClock, error) {
	c := lineClock{now: time.Now, base: at}
	if file == nil {
		return c, nil
	}
	st, err := file.Stat()
	if err != nil {
		return c, err
	}
	c.live = !st.Mode().IsRegular()
	if c.live || !at.IsZero() {
		return c, nil
	}
	n, err := countLines(file)
	if err != nil {
		return c, err
	}
	// The last line gets the file's time: no line lies in the future, where the
	// stream's time would replace it, another one at each publication.
	c.base = st.ModTime().Add(-time.Duration(n) * time.Millisecond)
	return c, nil
}

// countLines counts and rewinds to where it started.
func countLines(f *os.File) (int, error) {
	start, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	n, buf := 0, make([]byte, 64<<10)
	for {
		k, err := f.Read(buf)
		n += bytes.Count(buf[:k], []byte("\n"))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	_, err = f.Seek(start, io.SeekStart)
	return n, err
}

// at is the time of a line without one.
func (c *lineClock) at(line int, op scan.Op) time.Time {
	if !c.base.IsZero() && !op.IsUndo() && !op.IsRead() {
		return c.base.Add(time.Duration(line-1) * time.Millisecond)
	}
	t := c.now().Truncate(time.Millisecond)
	if !t.After(c.last) {
		t = c.last.Add(time.Millisecond) // the order of lines is the order of scans
	}
	c.last = t
	return t
}

// complete makes the event of a line: fields that it does not give come from the
// command line, then it gets its time and id. The error is a *scan.Malformed.
func (d *defaults) complete(e entry) (event, error) {
	ev := event{line: e.line, site: d.site, device: d.device}
	if e.site != "" {
		ev.site = e.site
	}
	if e.device != "" {
		ev.device = e.device
	}
	if e.fault != nil {
		return ev, e.fault
	}
	inner := e.object
	cloud := e.object["specversion"] != nil
	if cloud {
		inner = nil
		if err := json.Unmarshal(e.object["data"], &inner); err != nil || inner == nil {
			return ev, &scan.Malformed{Field: "data", Why: "not a JSON object"}
		}
	}
	timed := d.fill(inner, e)
	if cloud {
		e.object["data"] = encode(inner)
	}
	if absent(e.object["id"]) && absent(inner["id"]) {
		e.object["id"] = jsonText(ev.makeID(e.line, timed, inner))
	}
	ev.body = encode(e.object)
	var err error
	ev.decoded, err = scan.Decode(ev.body, scan.Meta{Site: ev.site, Device: ev.device})
	ev.id = ev.decoded.ID
	return ev, err
}

// fill adds what the line does not say, and tells whether the line had a time.
func (d *defaults) fill(object map[string]json.RawMessage, e entry) (timed bool) {
	if d.op != "" && absent(object["op"]) {
		object["op"] = jsonText(d.op)
	}
	if d.entry != "" && absent(object["entry"]) {
		object["entry"] = jsonText(d.entry)
	}
	if importForm(e.text) {
		// No scanner sends these forms, so the worker does not take them: they are
		// read here and published as fields.
		if r, rejection := worker.ReadImport(e.text, time.Now()); rejection == nil {
			delete(object, "scan")
			object["pack"] = encode(r.Pack)
		}
	}
	if !absent(object["at"]) {
		return true
	}
	var name string
	_ = json.Unmarshal(object["op"], &name) // a wrong type is reported by scan.Decode
	op, _ := scan.ParseOp(name)             // and a wrong word, too
	object["at"] = jsonText(scan.Time(d.clock.at(e.line, op)))
	return false
}

// makeID is a hash of everything that makes this scan this scan. The line's
// number counts only where the line has no time of its own: with one, the same
// line further down in a longer file is the same scan.
func (ev *event) makeID(line int, timed bool, inner map[string]json.RawMessage) string {
	h := sha256.New()
	if !timed {
		_, _ = h.Write(encode(line)) // a hash never fails
	}
	for _, part := range [][]byte{[]byte(ev.site), []byte(ev.device), encode(inner)} {
		_, _ = h.Write(append(part, 0))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// absent says that a field is not given; null and "" are ways of not giving one.
func absent(v json.RawMessage) bool { return v == nil || string(v) == "null" || string(v) == `""` }

// importForm says whether text is bracketed or a Digital Link URI.
func importForm(text string) bool {
	return strings.HasPrefix(text, "(") || strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
}

// encode is json.Marshal without HTML escapes, for values that always encode.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("decom: own value does not encode: " + err.Error()) // a bug, never input
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
