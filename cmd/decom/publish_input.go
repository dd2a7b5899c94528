package main

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"decom/queue/doors"
	"decom/queue/doors/files"
	"decom/worker"
)

// readImport reads the forms that only files have, for files.Defaults.
func readImport(text string) (pack json.RawMessage, ok bool) {
	r, rejection := worker.ReadImport(text, time.Now())
	if rejection != nil {
		return nil, false
	}
	return doors.Encode(r.Pack), true
}

// pipeInput lets a wait for a device end with ctx. The goroutine that waits in a
// read cannot be ended; it is left to the end of the process.
type pipeInput struct {
	files.Input
	done  <-chan struct{}
	want  chan struct{}
	lines chan pipeLine
}

type pipeLine struct {
	entry files.Entry
	err   error
}

func newPipeInput(ctx context.Context, in files.Input) *pipeInput {
	p := &pipeInput{Input: in, done: ctx.Done(), want: make(chan struct{}), lines: make(chan pipeLine, 1)} // 1: never waits for a reader that left
	go func() {
		for range p.want {
			e, err := in.Next()
			p.lines <- pipeLine{e, err}
		}
	}()
	return p
}

// Next implements files.Input; after ctx ended it is the end of the input.
func (p *pipeInput) Next() (files.Entry, error) {
	select {
	case p.want <- struct{}{}:
	case <-p.done:
		return files.Entry{}, io.EOF
	}
	select {
	case l := <-p.lines:
		return l.entry, l.err
	case <-p.done:
		return files.Entry{}, io.EOF
	}
}

// close lets the goroutine go, if it is not in a read.
func (p *pipeInput) close() { close(p.want) }
