package ledger

import (
	"fmt"

	"decom/worker/scan"
)

// Phase is where a pack stands for its account.
type Phase uint8

// The phases (protocol.md section 2.1). The numbers are stored in Redis.
const (
	Free     Phase = 0 // not inactive by us
	Opened   Phase = 1 // an attempt may be on its way: OPEN(c)
	Due      Phase = 2 // accepted, to be sent again
	Inactive Phase = 3 // inactive by us
	Parked   Phase = 4 // waits for a person
)

var phaseNames = [...]string{Free: "free", Opened: "open", Due: "due", Inactive: "inactive", Parked: "parked"}

// String returns the word used in records and on screens.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// MarshalText gives the word; what has none must not be written.
func (p Phase) MarshalText() ([]byte, error) {
	if int(p) >= len(phaseNames) {
		return nil, fmt.Errorf("%s is no phase of a pack", p)
	}
	return []byte(phaseNames[p]), nil
}

// UnmarshalText reads the word.
func (p *Phase) UnmarshalText(b []byte) error {
	for i, n := range phaseNames {
		if n == string(b) {
			*p = Phase(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no phase of a pack", b)
}

// SeenMax is how many event tags a pack remembers.
const SeenMax = 4

// State is what the ledger says of one pack: the value that Redis holds. The
// zero State is a pack never heard of.
type State struct {
	Phase   Phase
	Op      scan.Op // opened, due: the operation wanted; inactive: how it became so
	Fenced  bool    // opened: its sender must not send any more
	Probe   bool    // the attempt open, or the last one, was the qualified repeat
	Timed   bool    // the newest event carried `at`
	Undo    bool    // the newest event asked for an undo
	Single  bool    // due: to be sent by the single service only
	Undone  bool    // free: because we undid our own change
	Sends   uint8   // doubtful sends of the present operation
	Calls   uint8   // change calls made for the present operation
	Print   uint32  // fingerprint of batch and expiry; 0 = not known
	Changed uint64  // sequence of the record that last changed the pack
	Opening uint64  // sequence of the record that last opened it
	Base    uint64  // sequence of the record that opened the change that made it inactive by us; 0 = none
	At      int64   // NMVS's time of that change, unix seconds; 0 = not known
	Last    scan.Key
	Seen    [SeenMax]uint32 // newest first, 24 bits each, 0 = none
}

// Saw says whether the pack remembers the event.
func (s *State) Saw(tag uint32) bool {
	for _, t := range s.Seen {
		if t == tag && t != 0 {
			return true
		}
	}
	return false
}

// IsOpen says whether the pack is open for the attempt that record of opened: a
// pack stands in a record at most once, so this names the attempt.
func (s *State) IsOpen(of uint64) bool { return s.Phase == Opened && s.Opening == of }

// InactiveAs returns how the pack is inactive by us, 0 if it is not: an undo on
// its way has not made it active yet.
func (s *State) InactiveAs() scan.Op {
	switch {
	case s.Phase == Inactive:
		return s.Op
	case (s.Phase == Opened || s.Phase == Due) && s.Op.IsUndo():
		return s.Op.Undoes()
	}
	return 0
}

func (s *State) remember(tag uint32) {
	if s.Saw(tag) {
		return
	}
	copy(s.Seen[1:], s.Seen[:SeenMax-1])
	s.Seen[0] = tag
}

// arrive notes an event: `last` := max, `seen` += id (protocol.md section 4).
func (s *State) arrive(o Origin) {
	s.remember(o.Tag())
	if o.Op.IsRead() {
		return // a read must not supersede a change that was scanned before it
	}
	if k := o.OrderKey(); k.Compare(s.Last) > 0 {
		s.Last, s.Timed, s.Undo = k, o.Timed, o.Op.IsUndo()
	}
}
