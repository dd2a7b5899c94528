package ledger

import (
	"fmt"
	"maps"
	"time"

	"decom/worker/scan"
)

// States holds the packs that a record touches, by name. A pack that is not in it
// is one never heard of.
type States map[scan.PackID]State

// Index is what a record changes beside the packs: the lists from which work is
// found without reading every pack.
type Index struct {
	Open   map[uint64]int        // opening sequence -> change of the number of packs still open
	Due    map[scan.PackID]int64 // pack -> not before, milliseconds; -1 = no longer due
	Parked map[scan.PackID]bool  // pack -> waits for a person (true), no longer (false)
	Halt   *Fact                 // the account's last halt or resume in the record
}

// NewIndex returns an index without changes.
func NewIndex() Index {
	return Index{Open: map[uint64]int{}, Due: map[scan.PackID]int64{}, Parked: map[scan.PackID]bool{}}
}

// Merge adds the changes of the record that follows.
func (x *Index) Merge(next Index) {
	for seq, n := range next.Open {
		x.Open[seq] += n
	}
	maps.Copy(x.Due, next.Due)
	maps.Copy(x.Parked, next.Parked)
	if next.Halt != nil {
		x.Halt = next.Halt
	}
}

// Touched returns the packs whose states [Fold] needs, each once.
func (r *Record) Touched() []scan.PackID {
	ks := make([]scan.PackID, 0, r.Packs())
	seen := make(map[scan.PackID]bool, r.Packs())
	r.EachTouched(func(k scan.PackID) {
		if !seen[k] {
			seen[k] = true
			ks = append(ks, k)
		}
	})
	return ks
}

// EachTouched calls fn with the packs whose states [Fold] needs; with a pack that several entries
// name as often.
func (r *Record) EachTouched(fn func(scan.PackID)) {
	for i := range r.Note {
		if k := r.Note[i].K; k != "" {
			fn(k)
		}
	}
	for i := range r.Open {
		for j := range r.Open[i].Packs {
			if p, err := r.Open[i].Pack(j); err == nil {
				fn(p.ID())
			}
		}
	}
	for i := range r.Fact {
		for j := range r.Fact[i].Packs {
			if k := r.Fact[i].Packs[j].K; k != "" {
				fn(k)
			}
		}
	}
}

// Fold is the meaning of a record: it changes states, which must hold every
// pack of [Record.Touched] that is known, and returns the changes of the lists.
// It is pure: the same record at the same sequence on the same states gives
// the same result in every process. An error means that the record cannot have
// been written by this program; the account must halt.
func Fold(seq uint64, r *Record, states States) (Index, error) {
	f := folder{seq: seq, states: states, at: recordTime(r.At), idx: NewIndex()}
	for i := range r.Note {
		f.note(&r.Note[i])
	}
	for i := range r.Open {
		if err := f.open(&r.Open[i]); err != nil {
			return Index{}, err
		}
	}
	for i := range r.Fact {
		if err := f.fact(&r.Fact[i]); err != nil {
			return Index{}, err
		}
	}
	return f.idx, nil
}

func recordTime(at string) int64 {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return 0
	}
	return t.UnixMilli()
}

type folder struct {
	seq    uint64
	at     int64
	states States
	idx    Index
}

// put stores a pack's new state and keeps the lists in step with its phase.
func (f *folder) put(k scan.PackID, old, s State) {
	s.Changed = f.seq
	if old.Phase == Opened {
		f.idx.Open[old.Opening]--
	}
	if s.Phase == Opened {
		f.idx.Open[s.Opening]++
	}
	if old.Phase == Due && s.Phase != Due {
		f.idx.Due[k] = -1
	}
	if (old.Phase == Parked) != (s.Phase == Parked) {
		f.idx.Parked[k] = s.Phase == Parked
	}
	f.states[k] = s
}

func (f *folder) note(n *Note) {
	if n.K == "" {
		return
	}
	old := f.states[n.K]
	s := old
	s.arrive(n.Origin)
	f.put(n.K, old, s)
}

func (f *folder) open(o *Open) error {
	for i := range o.Packs {
		p, err := o.Pack(i)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRecord, err)
		}
		k, op := p.ID(), o.Packs[i].Op
		old := f.states[k]
		if old.Phase == Opened || old.Phase == Parked {
			return fmt.Errorf("%w: attempt %s opens pack %s, which is %s", ErrRecord, o.C, k, old.Phase)
		}
		s := old
		s.arrive(o.Packs[i].Origin)
		if old.Phase != Due {
			s.Sends, s.Calls, s.Single = 0, 0, false
		}
		s.Phase, s.Op, s.Opening, s.Fenced, s.Probe, s.Undone = Opened, op, f.seq, false, o.Probe, false
		s.Print = p.Print()
		f.put(k, old, s)
	}
	return nil
}

func (f *folder) fact(t *Fact) error {
	switch t.Kind {
	case Halt, Resume:
		f.idx.Halt = t
	case Park, Review:
		for i := range t.Packs {
			f.people(t, &t.Packs[i])
		}
	case Submitted, Resend, Used: // of the attempt, not of its packs
	case Pause, Tune, Continue, VerifyFirst, VerifyEnd, Withhold, LetGo: // of the account, see Controls
	case Result, Off, Fence, Release:
		for i := range t.Packs {
			if err := f.attempt(t, &t.Packs[i]); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%w: fact of kind %q", ErrRecord, t.Kind)
	}
	return nil
}

// attempt applies a fact about an attempt to one pack. A pack no longer open for it
// is left alone [B2c].
func (f *folder) attempt(t *Fact, p *FactPack) error {
	old := f.states[p.K]
	if !old.IsOpen(t.Of) && !withdraws(t, p, old) {
		return nil
	}
	s := old
	switch t.Kind {
	case Fence:
		s.Fenced = true
	case Off:
		s.Phase, s.Fenced = Due, false
		s.Single = s.Single || t.Svc == Single
		if p.Answer != nil && p.Called {
			s.Calls = bump(s.Calls)
		}
		f.idx.Due[p.K] = max(t.NotBefore, f.at)
	case Release:
		s.Phase, s.Fenced = Due, false
		s.Sends, s.Calls, s.Probe = bump(s.Sends), bump(s.Calls), p.Probe
		if p.Probe { // the attempt before the probe is the one that changed the pack: an undo must cite it
			s.Base = s.Opening
		}
		f.idx.Due[p.K] = max(t.NotBefore, f.at)
	case Result:
		if p.Answer == nil {
			return fmt.Errorf("%w: result of %s without an answer", ErrRecord, t.C)
		}
		s = settle(s, p.Answer)
	}
	f.put(p.K, old, s)
	return nil
}

// withdraws says that the fact ends a due pack by our own rules (protocol.md section 4:
// a due pack that fails rules 7 to 9). An answer of NMVS never does: it speaks of
// an attempt, and a due pack has none.
func withdraws(t *Fact, p *FactPack, s State) bool {
	return t.Kind == Result && s.Phase == Due && s.Opening == t.Of &&
		p.Answer != nil && p.Result == scan.Refused && !p.Called
}

func bump(n uint8) uint8 { return min(n+1, 250) }

// settle is what a final answer makes of an open pack.
func settle(s State, a *Answer) State {
	op := s.Op
	s.Fenced, s.Sends, s.Single = false, 0, false
	if a.Called {
		s.Calls = bump(s.Calls)
	}
	switch a.Result {
	case scan.Done, scan.Duplicate:
		if op.IsUndo() {
			s.Phase, s.Op, s.Base, s.At, s.Undone = Free, 0, 0, 0, true
		} else {
			s.Phase, s.At = Inactive, seconds(a.NMVSAt)
			if !s.Probe || s.Base == 0 || a.Reason != scan.Confirmed {
				s.Base = s.Opening
			}
		}
	case scan.Refused, scan.Rejected: // nothing changed: the pack is what it was
		if s.Base != 0 && op.IsUndo() {
			s.Phase, s.Op = Inactive, op.Undoes()
		} else {
			s.Phase, s.Op, s.Base = Free, 0, 0
		}
	default: // alert, unresolved
		s.Phase = Parked
	}
	return s
}

func seconds(at string) int64 {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return 0
	}
	return t.Unix()
}

// people applies a person's word, or a park by rule, to one pack.
func (f *folder) people(t *Fact, p *FactPack) {
	old := f.states[p.K]
	s := old
	s.Fenced, s.Sends, s.Single, s.Undone = false, 0, false, false
	if t.Kind == Park {
		s.Phase = Parked
		f.put(p.K, old, s)
		return
	}
	s.Phase, s.Op = p.To, p.Op
	switch p.To {
	case Inactive:
		if s.Base == 0 {
			s.Base = s.Opening
		}
	case Free:
		s.Op, s.Base, s.At = 0, 0, 0
	default: // a person states what is, never what is on its way
		s.Phase = Parked
	}
	f.put(p.K, old, s)
}
