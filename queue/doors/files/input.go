package files

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"decom/queue/doors"
	"decom/worker/scan"
)

// maxLine bounds the memory that one line of input may take; an event is at
// most scan.MaxEvent, and JSON escapes make a line up to six times longer.
const maxLine = 8 * scan.MaxEvent

// Entry is one line of input as an event in the making.
type Entry struct {
	Line         int             // from 1
	Draft        doors.Draft     // what the line gives of the event
	Site, Device string          // of the line itself (CSV), or ""
	Text         string          // raw text of the data carrier, if the line is nothing else
	Fault        *scan.Malformed // the line can be no event
	Empty        bool            // the line holds nothing, or blanks only: it is no scan
}

// Input gives the entries one after another.
type Input interface {
	// Next returns io.EOF after the last entry; any other error ends the input.
	Next() (Entry, error)
	// Ready says whether Next can answer without waiting for a device.
	Ready() bool
}

// Lines reads lines that end in \n and in nothing else: a raw barcode may
// hold any other control character (contract.md section 7).
type Lines struct {
	r    *bufio.Reader
	line int
}

// NewLines reads raw lines, JSON lines and JSON strings.
func NewLines(r io.Reader) *Lines {
	b := bufio.NewReaderSize(r, 64<<10)
	if head, err := b.Peek(3); err == nil && bytes.Equal(head, []byte("\ufeff")) {
		_, _ = b.Discard(3) // cannot fail: just peeked
	}
	return &Lines{r: b}
}

// read returns the next line without its end; long says that it was over
// maxLine and was dropped.
func (l *Lines) read() (line []byte, long bool, err error) {
	for {
		part, err := l.r.ReadSlice('\n')
		if len(line)+len(part) <= maxLine {
			line = append(line, part...)
		} else {
			long = true
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (len(line) > 0 || long):
			err = nil
		}
		if err != nil {
			return nil, false, err
		}
		l.line++
		line = bytes.TrimSuffix(line, []byte("\n"))
		return bytes.TrimSuffix(line, []byte("\r")), long, nil
	}
}

// Next implements Input.
func (l *Lines) Next() (Entry, error) {
	line, long, err := l.read()
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Line: l.line}
	if long {
		e.Fault = &scan.Malformed{Why: "the line is too long"}
		return e, nil
	}
	e.Draft, e.Text, e.Fault = doors.FromLine(line)
	e.Empty = e.Fault == nil && (len(bytes.Trim(line, " \t\r")) == 0 || string(line) == `""`)
	return e, nil
}

// Ready implements Input: a whole line is in the buffer.
func (l *Lines) Ready() bool {
	held, _ := l.r.Peek(l.r.Buffered()) // never more than it has
	return bytes.IndexByte(held, '\n') >= 0
}
