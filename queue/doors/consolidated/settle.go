package consolidated

import (
	"slices"
	"time"
)

// Fate is where a row stands.
type Fate uint8

// The fates of a row, in the order of the sheet.
const (
	Waiting    Fate = iota // not received yet
	NotShipped             // the file lists it and did not ship it
	Released               // its event is published, or about to be
	HeldExpiry             // received; how its expiry is printed is not known
	HeldSample             // received; the sample check has not passed
	Opened                 // something around it was opened: scan it by itself
	Missing                // its container was counted and it was not there
	Wrong                  // it was scanned, and its batch or expiry is not the file's: scan it by itself
	Gone                   // not released when a person dropped the file
)

// Settled is what the notes say of each row.
type Settled struct {
	*File
	List *List

	Fate    []Fate
	receipt []int32   // index into times, -1 = not received
	let     []uint64  // sequence of the note that let the row go; 0 = none
	expiry  []string  // with which it goes
	times   []receipt // of receipts
	opened  []bool    // containers
	counted []bool    // containers

	held    []Fate // of rows that stay: Missing, Wrong
	ok      map[int32]bool
	Extra   []Extra
	blocked bool // a sample found what the file does not list
	dates   map[Date]string
	rules   Rules
	dropped bool
	byN     map[int32]int32
}

type receipt struct {
	at            time.Time
	ref, who      string
	box, delivery int32
}

// Release is a pack that may leave.
type Release struct {
	Row    *Row
	Expiry string // as it is sent
	At     time.Time
	Ref    string
	Who    string
	seq    uint64
}

// Settle replays the notes over the rows. It is a pure function of both: a row that a note
// let go stays so, with the same time and content, whatever comes later.
func Settle(f *File, l *List) *Settled {
	n := len(l.Rows)
	s := &Settled{
		File: f, List: l, Fate: make([]Fate, n), receipt: make([]int32, n), let: make([]uint64, n), expiry: make([]string, n),
		opened: make([]bool, len(l.Containers)), counted: make([]bool, len(l.Containers)), held: make([]Fate, n),
		ok: map[int32]bool{}, dates: map[Date]string{}, byN: make(map[int32]int32, n),
	}
	for i := range l.Rows {
		s.receipt[i] = -1
		s.byN[l.Rows[i].N] = int32(i)
	}
	for i := range l.Containers {
		s.opened[i] = l.Containers[i].Opened
	}
	for i := range f.Events {
		s.apply(&f.Events[i])
	}
	for i := range l.Rows {
		s.Fate[i] = s.fate(int32(i))
	}
	return s
}

func (s *Settled) apply(e *Event) {
	if e.Rules != nil {
		s.rules = *e.Rules
	}
	switch e.Kind {
	case noteReceived:
		s.receive(e)
	case noteSampled:
		s.sample(e.Sample)
	case noteOpened:
		if i := s.boxOf(e.Ref); i >= 0 {
			s.opened[i] = true
		}
		return
	case noteDropped:
		s.dropped = true
		return
	default:
		return
	}
	s.sweep(e.Seq)
}

func (s *Settled) boxOf(id string) int32 {
	return int32(slices.IndexFunc(s.List.Containers, func(c Container) bool { return c.ID == id }))
}

func (s *Settled) receive(e *Event) {
	box, delivery := s.boxOf(e.Ref), int32(slices.Index(s.List.Deliveries, e.Ref))
	s.times = append(s.times, receipt{e.Time.UTC().Truncate(time.Millisecond), e.Ref, e.Who, box, delivery})
	for i := range s.List.Rows {
		if r := &s.List.Rows[i]; r.Shipped && !s.received(int32(i)) && s.covers(r, box, delivery) {
			s.receipt[i] = int32(len(s.times) - 1)
		}
	}
}

// received says whether a receipt covers the row, and nothing around it was opened since.
func (s *Settled) received(i int32) bool {
	if s.let[i] != 0 {
		return true
	}
	if s.receipt[i] < 0 {
		return false
	}
	t := &s.times[s.receipt[i]]
	return s.covers(&s.List.Rows[i], t.box, t.delivery)
}

// covers says whether a receipt of that container or delivery is one of this pack: it is
// in it, and nothing between them was opened.
func (s *Settled) covers(r *Row, box, delivery int32) bool {
	if box < 0 && !slices.Contains(r.Deliv, delivery) {
		return false
	}
	for p := r.Parent; p >= 0; p = s.List.Containers[p].Parent {
		if s.opened[p] {
			return false
		}
		if p == box {
			return true
		}
	}
	return box < 0
}

func (s *Settled) sample(m *Sample) {
	if m == nil {
		return
	}
	for _, n := range m.OK {
		s.ok[n] = true
		if i, ok := s.byN[n]; ok && s.held[i] == Missing {
			s.held[i] = Waiting // found after all
		}
	}
	for _, it := range []struct {
		rows []int32
		fate Fate
	}{{m.Missing, Missing}, {m.Wrong, Wrong}} {
		for _, n := range it.rows {
			if i, ok := s.byN[n]; ok && !(it.fate == Missing && s.ok[n]) {
				s.held[i] = it.fate
			}
		}
	}
	for _, x := range m.Extra {
		if !slices.Contains(s.Extra, x) {
			s.Extra = append(s.Extra, x)
		}
		if m.Of == "" {
			s.blocked = true
		}
	}
	for _, d := range m.Dates {
		key := Date{Code: d.Code, Batch: d.Batch, Full: d.Full}
		if s.dates[key] == "" {
			s.dates[key] = d.Printed
		}
	}
	if i := s.boxOf(m.Of); m.Of != "" && i >= 0 {
		s.counted[i] = true
	}
}

// printed is the expiry to send, or "" where nobody knows how the pack prints it.
func (s *Settled) printed(r *Row) string {
	if !r.Full {
		return r.Expiry
	}
	if p := s.dates[Date{Code: r.Code, Batch: r.Batch, Full: r.Expiry}]; p != "" {
		return p
	}
	switch s.rules.Expiry {
	case "exact":
		return r.Expiry
	case "month_end":
		if r.Expiry == monthEnd(r.Expiry) {
			return r.Expiry[:4] + "00"
		}
		return r.Expiry
	}
	return ""
}

// sampled says whether the sample check lets this pack go: enough of the file was scanned
// and all of it listed, or its own container was counted.
func (s *Settled) sampled(r *Row) bool {
	if !s.blocked && len(s.ok) >= s.rules.Sample {
		return true
	}
	for p := r.Parent; p >= 0; p = s.List.Containers[p].Parent {
		if s.counted[p] {
			return true
		}
	}
	return false
}

// sweep lets go what nothing holds any more.
func (s *Settled) sweep(seq uint64) {
	if s.dropped {
		return
	}
	for i := range s.List.Rows {
		r := &s.List.Rows[i]
		if s.let[i] != 0 || s.held[i] != Waiting || !s.received(int32(i)) || !s.sampled(r) {
			continue
		}
		if e := s.printed(r); e != "" {
			s.let[i], s.expiry[i] = seq, e
		}
	}
}

func (s *Settled) fate(i int32) Fate {
	r := &s.List.Rows[i]
	switch {
	case s.let[i] != 0:
		return Released
	case !r.Shipped:
		return NotShipped
	case s.held[i] != Waiting:
		return s.held[i]
	case s.dropped:
		return Gone
	case s.received(i) && !s.sampled(r):
		return HeldSample
	case s.received(i):
		return HeldExpiry
	}
	for p := r.Parent; p >= 0; p = s.List.Containers[p].Parent {
		if s.opened[p] {
			return Opened
		}
	}
	return Waiting
}

// Releases calls fn for every row that was let go by a note behind after, in their order.
func (s *Settled) Releases(after uint64, fn func(Release)) {
	for i := range s.List.Rows {
		if s.let[i] > after {
			t := s.times[s.receipt[i]]
			fn(Release{Row: &s.List.Rows[i], Expiry: s.expiry[i], At: t.at, Ref: t.ref, Who: t.who, seq: s.let[i]})
		}
	}
}

// Count is how many rows have each fate.
func (s *Settled) Count() map[Fate]int {
	n := map[Fate]int{}
	for _, f := range s.Fate {
		n[f]++
	}
	return n
}

// Undated lists product, batch and full date of rows that wait for a scanned pack.
func (s *Settled) Undated() (all []Date) {
	seen := map[Date]bool{}
	for i := range s.List.Rows {
		r := &s.List.Rows[i]
		d := Date{Code: r.Code, Batch: r.Batch, Full: r.Expiry}
		if s.let[i] == 0 && r.Shipped && r.Full && s.printed(r) == "" && !seen[d] {
			seen[d] = true
			all = append(all, d)
		}
	}
	return all
}
