package worker

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"decom/worker/ledger"
)

// note keeps a line of the run's trace, with the time since its start.
func (w *world) note(format string, args ...any) {
	if !w.tracing {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(format, args...)
}

func (w *world) noteLocked(format string, args ...any) {
	at := time.Since(w.began).Truncate(time.Millisecond)
	w.trace = append(w.trace, traceLine{at, format, args})
}

// traceLine is one line, worded only when somebody reads it.
type traceLine struct {
	at     time.Duration
	format string
	args   []any
}

// noteRecord keeps what a record says. The caller holds mu.
func (w *world) noteRecord(seq uint64, r *ledger.Record) {
	if !w.tracing {
		return
	}
	w.noteLocked("record %d by %s: %v", seq, r.By, recordText{r})
}

// recordText words a record in a line.
type recordText struct{ r *ledger.Record }

func (t recordText) String() string {
	var b strings.Builder
	for i := range t.r.Note {
		n := &t.r.Note[i]
		fmt.Fprintf(&b, "[note %s %v %s/%s] ", n.Ev, n.Op, n.Result, n.Reason)
	}
	for i := range t.r.Open {
		o := &t.r.Open[i]
		fmt.Fprintf(&b, "[open %s %s", o.Svc, o.C)
		for j := range o.Packs {
			fmt.Fprintf(&b, " %v:%s(%s)", o.Packs[j].Op, o.Packs[j].Serial, o.Packs[j].Ev)
		}
		b.WriteString("] ")
	}
	for i := range t.r.Fact {
		f := &t.r.Fact[i]
		fmt.Fprintf(&b, "[%s %s of %d%s", f.Kind, f.C, f.Of, f.Why)
		for j := range f.Packs {
			fmt.Fprintf(&b, " %d", f.Packs[j].I)
			if a := f.Packs[j].Answer; a != nil {
				fmt.Fprintf(&b, "=%s/%s", a.Result, a.Reason)
			}
		}
		b.WriteString("] ")
	}
	return b.String()
}

// story is the whole trace, and a number that is equal for equal runs but for the ids
// of attempts, which are random.
func (w *world) story() (text string, sum uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	names := map[string]string{}
	for _, l := range w.trace {
		fmt.Fprintf(&b, "%12v  %s\n", l.at, shortIDs(fmt.Sprintf(l.format, l.args...), names))
	}
	h := fnv.New64a()
	h.Write([]byte(b.String()))
	return b.String(), h.Sum64()
}

// shortIDs writes c1, c2, ... for ids of attempts.
func shortIDs(s string, names map[string]string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" []:,", r) })
	for _, word := range words {
		id := strings.TrimPrefix(word, "T-")
		if len(id) != 26 {
			continue
		}
		if names[id] == "" {
			names[id] = fmt.Sprintf("c%d", len(names)+1)
		}
		s = strings.ReplaceAll(s, id, names[id])
	}
	return s
}
