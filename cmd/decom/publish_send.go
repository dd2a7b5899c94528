package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"decom/queue/doors/files"
	"decom/worker/scan"
)

const (
	// answerTime bounds the wait for the acknowledgements of one batch. The queue
	// retries inside it; after it a line counts as not stored, whatever became of
	// it: its id makes publishing it again harmless.
	answerTime = 30 * time.Second
	// sendBatch is how many lines are out at once; a pipe that gives fewer is not
	// waited for.
	sendBatch = 256
)

// sendFunc stores events in order and returns after the stream's
// acknowledgements, one an event; seq 0 = not known to be stored, see the error.
type sendFunc func(context.Context, []files.Event) ([]ack, error)

// ack is the stream's acknowledgement.
type ack struct {
	seq       uint64
	duplicate bool // the stream had this id already
}

// publisher stores lines in the order of the input.
type publisher struct {
	*app
	json bool
	send sendFunc

	stored, again, failed int
}

// sentLine is what --json prints for a line that was published, or could not be.
type sentLine struct {
	Line      int    `json:"line"`
	OK        bool   `json:"ok"`
	ID        string `json:"id,omitempty"`
	Seq       uint64 `json:"seq,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"`
	Error     string `json:"error,omitempty"`
}

// run publishes everything, reports each line and sums up. A line that fails
// does not stop the others; a queue that does not answer does, because every
// further line would wait as long. When ctx ends, the lines that were read are
// stored; waiting for a pipe then ends without an error, a file's rest is one.
func (p *publisher) run(ctx context.Context, in files.Input, d *files.Defaults) error {
	defer p.sum()
	var batch []pending
	for {
		if ctx.Err() != nil && in.Ready() {
			return cmp.Or(p.flush(ctx, batch), spokenf("%w ; le reste de l'entrée n'a pas été lu", "%w; the rest of the input was not read", context.Cause(ctx)))
		}
		e, err := in.Next()
		if err != nil {
			if ferr := p.flush(ctx, batch); ferr != nil || !errors.Is(err, io.EOF) {
				return cmp.Or(ferr, spokenf("lecture de l'entrée : %w", "read the input: %w", err))
			}
			break
		}
		if e.Empty {
			continue
		}
		ev, err := d.Complete(e)
		if err == nil {
			err = checkSource(&ev)
		}
		batch = append(batch, pending{ev, err})
		if len(batch) >= sendBatch || !in.Ready() {
			if err := p.flush(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if p.failed > 0 {
		return spokenf("%d ligne(s) sur %d n'ont pas été enregistrées", "%d of %d lines were not stored", p.failed, p.failed+p.stored+p.again)
	}
	return nil
}

// checkSource says whether the event's site and device can stand in a subject.
func checkSource(ev *files.Event) error {
	for _, it := range []struct{ en, fr, value string }{{"site", "de site", ev.Site}, {"device", "d'appareil", ev.Device}} {
		switch {
		case it.value == "":
			return &spoken{fr: fmt.Errorf("la ligne ne nomme pas %s, et --%s n'est pas donné", it.fr, it.en),
				en: fmt.Errorf("the row names no %s, and --%[1]s is not given", it.en)}
		case !scan.ValidToken(it.value):
			return spokenf("%s %q : de 1 à 64 caractères parmi A-Z a-z 0-9 _ -", "%s %q must be 1 to 64 of A-Z a-z 0-9 _ -", it.en, it.value)
		}
	}
	return nil
}

// pending is a line that waits for its batch: an event, or why it is none.
type pending struct {
	files.Event
	fault error
}

// flush publishes a batch and reports its lines in order. Its error ends the run.
func (p *publisher) flush(ctx context.Context, batch []pending) error {
	var events []files.Event
	for _, l := range batch {
		if l.fault == nil {
			events = append(events, l.Event)
		}
	}
	// What was read is stored, also when a signal came: only its time is bounded.
	batchCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	var acks []ack
	var err error
	if len(events) > 0 {
		acks, err = p.send(batchCtx, events)
	}
	lost := 0 // first line that should be stored and is not
	for _, l := range batch {
		out := sentLine{Line: l.Line, ID: l.ID}
		switch {
		case l.fault != nil:
			out.ID, out.Error = "", l.fault.Error()
			if !p.json {
				out.Error = p.inLanguage(l.fault).Error()
			}
		case len(acks) > 0 && acks[0].seq > 0:
			out.OK, out.Seq, out.Duplicate = true, acks[0].seq, acks[0].duplicate
		default:
			out.Error = fmt.Sprint(cmp.Or(err, errors.New("the stream did not acknowledge it")))
			lost = cmp.Or(lost, l.Line)
		}
		if l.fault == nil && len(acks) > 0 {
			acks = acks[1:]
		}
		if err := p.report(out); err != nil {
			return err
		}
	}
	if batchCtx.Err() != nil && lost > 0 {
		return spokenf("arrêté à la ligne %d : %w ; ce qui est enregistré peut être publié de nouveau sans mal", "stopped at line %d: %w; what is stored already does no harm when it is published again", lost, err)
	}
	return nil
}

// report counts a line and tells about it: every line with --json, failures
// otherwise. The error is that of writing.
func (p *publisher) report(l sentLine) error {
	switch {
	case !l.OK:
		p.failed++
	case l.Duplicate:
		p.again++
	default:
		p.stored++
	}
	if p.json {
		return json.NewEncoder(p.stdout).Encode(l)
	}
	if !l.OK {
		format := p.lang.of(scan.Text{FR: "ligne %d : non enregistrée : %s\n", EN: "line %d: not stored: %s\n"})
		_, err := fmt.Fprintf(p.stderr, format, l.Line, l.Error)
		return err
	}
	return nil
}

func (p *publisher) sum() {
	if p.json {
		return
	}
	p.sayf("%d enregistrées, %d déjà là, %d non enregistrées", "%d stored, %d there already, %d not stored", p.stored, p.again, p.failed)
}
