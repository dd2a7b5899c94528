package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"decom/worker/scan"
)

// maxLine bounds the memory that one line of input may take; an event is at
// most scan.MaxEvent, and JSON escapes make a line up to six times longer.
const maxLine = 8 * scan.MaxEvent

// entry is one line of input as an event in the making.
type entry struct {
	line         int                        // from 1
	object       map[string]json.RawMessage // fields of the event that the line gives
	site, device string                     // of the line itself (CSV), or ""
	text         string                     // raw text of the data carrier, if the line is nothing else
	fault        *scan.Malformed            // the line can be no event
}

// input gives the entries one after another.
type input interface {
	// next returns io.EOF after the last entry; any other error ends the input.
	next() (entry, error)
	// ready says whether next can answer without waiting for a device.
	ready() bool
}

// lineReader reads lines that end in \n and in nothing else: a raw barcode may
// hold any other control character (contract.md section 7).
type lineReader struct {
	r    *bufio.Reader
	line int
}

func newLineReader(r io.Reader) *lineReader {
	b := bufio.NewReaderSize(r, 64<<10)
	if head, err := b.Peek(3); err == nil && bytes.Equal(head, []byte("\ufeff")) {
		_, _ = b.Discard(3) // cannot fail: just peeked
	}
	return &lineReader{r: b}
}

// read returns the next line without its end; long says that it was over
// maxLine and was dropped.
func (l *lineReader) read() (line []byte, long bool, err error) {
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

// next implements input for raw lines, JSON lines and JSON strings.
func (l *lineReader) next() (entry, error) {
	line, long, err := l.read()
	if err != nil {
		return entry{}, err
	}
	e := entry{line: l.line}
	switch {
	case long:
		e.fault = &scan.Malformed{Why: "the line is too long"}
	case bytes.HasPrefix(line, []byte("{")):
		if json.Unmarshal(line, &e.object) != nil || !utf8.Valid(line) {
			e.fault = malformedJSON(line)
		}
	case bytes.HasPrefix(line, []byte(`"`)):
		var text string
		if err := json.Unmarshal(line, &text); err != nil {
			e.fault = &scan.Malformed{Why: "not a JSON string: " + err.Error()}
			break
		}
		e.setText(text)
	default:
		e.setText(utf8Text(line))
	}
	return e, nil
}

// ready implements input: a whole line is in the buffer.
func (l *lineReader) ready() bool {
	held, _ := l.r.Peek(l.r.Buffered()) // never more than it has
	return bytes.IndexByte(held, '\n') >= 0
}

// pipeInput lets a wait for a device end with ctx. The goroutine that waits in a
// read cannot be ended; it is left to the end of the process.
type pipeInput struct {
	input
	done  <-chan struct{}
	want  chan struct{}
	lines chan pipeLine
}

type pipeLine struct {
	entry entry
	err   error
}

func newPipeInput(ctx context.Context, in input) *pipeInput {
	p := &pipeInput{input: in, done: ctx.Done(), want: make(chan struct{}), lines: make(chan pipeLine, 1)} // 1: never waits for a reader that left
	go func() {
		for range p.want {
			e, err := in.next()
			p.lines <- pipeLine{e, err}
		}
	}()
	return p
}

// next implements input; after ctx ended it is the end of the input.
func (p *pipeInput) next() (entry, error) {
	select {
	case p.want <- struct{}{}:
	case <-p.done:
		return entry{}, io.EOF
	}
	select {
	case l := <-p.lines:
		return l.entry, l.err
	case <-p.done:
		return entry{}, io.EOF
	}
}

// close lets the goroutine go, if it is not in a read.
func (p *pipeInput) close() { close(p.want) }

func (e *entry) setText(text string) {
	e.text = text
	e.object = map[string]json.RawMessage{"scan": jsonText(text)}
}

// malformedJSON says what is wrong with a JSON line, in the worker's words.
func malformedJSON(line []byte) *scan.Malformed {
	if m := malformed(line); m != nil {
		return m
	}
	return &scan.Malformed{Why: "not a JSON object"}
}

func malformed(body []byte) *scan.Malformed {
	_, err := scan.Decode(body, scan.Meta{MsgID: "line"})
	m, _ := errors.AsType[*scan.Malformed](err)
	return m
}

// jsonText encodes text; unlike json.Marshal's default it leaves < > & alone,
// which stand in serials.
func jsonText(text string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a string always encodes
	return bytes.TrimRight(b.Bytes(), "\n")
}

// utf8Text reads text as UTF-8, or as Windows-1252 where it is not: that is
// what Excel and old scanner software write in France.
func utf8Text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b) + 8)
	for _, c := range b {
		if c >= 0x80 && c < 0xa0 {
			s.WriteRune(windows1252[c-0x80])
		} else {
			s.WriteRune(rune(c))
		}
	}
	return s.String()
}

// windows1252 is the part of the code page that differs from Latin-1; its five
// unassigned bytes stay control characters, as the WHATWG encoding has it.
var windows1252 = [32]rune{
	'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8d, 'Ž', 0x8f,
	0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9d, 'ž', 'Ÿ',
}
