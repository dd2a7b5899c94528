package files

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

	"decom/queue/doors"
	"decom/worker/scan"
)

// Defaults is what is said for lines that do not say it themselves.
type Defaults struct {
	Site, Device string
	Op           string
	Entry        string
	Clock        Clock
	// Import reads the forms that no scanner sends (bracketed text, Digital Link) and
	// returns the pack as JSON; the worker does not take them. nil: they stay as they are.
	Import func(text string) (pack json.RawMessage, ok bool)
}

// Event is a line that is ready to be published.
type Event struct {
	Line         int
	Site, Device string
	ID           string
	Body         []byte
	Decoded      scan.Event
}

// Clock gives a line without its own time one.
//
// A scan must carry the same id and the same time when it is published again
// (contract.md section 4), and a raw line has neither. So a file's lines count as
// scanned when the file was last written, a millisecond apart, and the id is made
// from the whole event: publishing the unchanged file again changes nothing, and
// a changed file is a new publication. What asks or takes back (verify, undo_*)
// counts as of now: a person who publishes an undo means today's state. Lines
// from a pipe count as of now, too, and so are new scans each time.
type Clock struct {
	Base  time.Time // of line 1; zero = now, for every line
	Fixed bool      // Base counts for what asks or takes back, too: it is written down somewhere
	Now   func() time.Time
	Live  bool // the input is a pipe or a terminal, no file

	last time.Time // newest time handed out as now
}

// NewClock looks at what is read: at says what the user gave (--at), and
// file is the input, if it is one that can be read twice.
func NewClock(at time.Time, file *os.File) (Clock, error) {
	c := Clock{Now: time.Now, Base: at}
	if file == nil {
		return c, nil
	}
	st, err := file.Stat()
	if err != nil {
		return c, err
	}
	c.Live = !st.Mode().IsRegular()
	if c.Live || !at.IsZero() {
		return c, nil
	}
	n, err := countLines(file)
	if err != nil {
		return c, err
	}
	c.Base = firstLine(st.ModTime(), n)
	return c, nil
}

// firstLine is the time of line 1 of a file with n lines. The last line gets the file's
// time: no line lies in the future, where the stream's time would replace it, another one
// at each publication.
func firstLine(written time.Time, n int) time.Time {
	return written.Add(-time.Duration(n) * time.Millisecond)
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
func (c *Clock) at(line int, op scan.Op) time.Time {
	if !c.Base.IsZero() && (c.Fixed || !op.IsUndo() && !op.IsRead()) {
		return c.Base.Add(time.Duration(line-1) * time.Millisecond)
	}
	t := c.Now().Truncate(time.Millisecond)
	if !t.After(c.last) {
		t = c.last.Add(time.Millisecond) // the order of lines is the order of scans
	}
	c.last = t
	return t
}

// Complete makes the event of a line: fields that it does not give come from the
// defaults, then it gets its time and id. The error is a *scan.Malformed.
func (d *Defaults) Complete(e Entry) (Event, error) {
	ev := Event{Line: e.Line, Site: d.Site, Device: d.Device}
	if e.Site != "" {
		ev.Site = e.Site
	}
	if e.Device != "" {
		ev.Device = e.Device
	}
	if e.Fault != nil {
		return ev, e.Fault
	}
	timed := d.fill(&e)
	if !e.Draft.HasID() {
		e.Draft.DefaultID(ev.makeID(e.Line, timed, &e.Draft))
	}
	var err error
	ev.Body, ev.Decoded, err = e.Draft.Decode(ev.Site, ev.Device)
	ev.ID = ev.Decoded.ID
	return ev, err
}

// fill adds what the line does not say, and tells whether the line had a time.
func (d *Defaults) fill(e *Entry) (timed bool) {
	e.Draft.Default("op", d.Op)
	e.Draft.Default("entry", d.Entry)
	if d.Import != nil && ImportForm(e.Text) {
		// No scanner sends these forms, so the worker does not take them: they are
		// read here and published as fields.
		if pack, ok := d.Import(e.Text); ok {
			e.Draft.ReplaceScan(pack)
		}
	}
	if e.Draft.Has("at") {
		return true
	}
	op, _ := scan.ParseOp(e.Draft.TextOf("op")) // a wrong word is reported by scan.Decode
	e.Draft.Default("at", scan.Time(d.Clock.at(e.Line, op)))
	return false
}

// makeID is a hash of everything that makes this scan this scan. The line's
// number counts only where the line has no time of its own: with one, the same
// line further down in a longer file is the same scan.
func (ev *Event) makeID(line int, timed bool, d *doors.Draft) string {
	h := sha256.New()
	if !timed {
		_, _ = h.Write(doors.Encode(line)) // a hash never fails
	}
	for _, part := range [][]byte{[]byte(ev.Site), []byte(ev.Device), d.Fields()} {
		_, _ = h.Write(append(part, 0))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// ImportForm says whether text is bracketed or a Digital Link URI.
func ImportForm(text string) bool {
	return strings.HasPrefix(text, "(") || strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
}
