package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"decom/nmvs"
)

// Sim is one NMVS. All methods may be called from any goroutine. It starts none
// of its own: what is due (bulks, late copies) is carried out by whoever looks
// next, at the time at which it was due.
type Sim struct {
	cfg   Config
	table *table

	stop     chan struct{} // closed by Close: hanging and slow calls end
	stopOnce sync.Once

	mu       sync.Mutex // guards everything below
	offset   time.Duration
	set      *Settings // with defaults; replaced, never written
	raw      Settings  // as given
	list     *operation
	scripted []*armed // Inject
	standing []*armed // Settings.Faults
	accounts map[[2]string]*account
	clients  map[string]*client
	products map[string]*product
	bulks    map[txID]*bulk
	slots    []time.Time // when each of BulkRules.Capacity is free
	parked   []*bulk     // due, but Maintenance.On
	events   events
	eventN   uint64
	book     book
	alerts   uint64
	key      []byte // scratch for look-ups

	ids, faults, latency, order *rand.Rand // a stream each, so that one setting does not disturb another
}

// New returns a simulator without stock. The error lists everything that is
// wrong with cfg.
func New(cfg Config) (*Sim, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	def(&cfg.Version, 5)
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	s := &Sim{cfg: cfg, table: newTable(cfg.Version), stop: make(chan struct{})}
	s.Reset()
	return s, nil
}

// Reset makes the simulator forget everything but its Config: stock, ledger,
// accounts' changes, running bulks, scripts, the moved clock, later settings.
func (s *Sim) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset = 0
	s.scripted, s.events, s.parked, s.slots, s.alerts, s.eventN = nil, nil, nil, nil, 0, 0
	s.products, s.bulks, s.book = map[string]*product{}, map[txID]*bulk{}, newBook()
	s.accounts, s.clients = map[[2]string]*account{}, map[string]*client{}
	for i, r := range []**rand.Rand{&s.ids, &s.faults, &s.latency, &s.order} {
		*r = rand.New(rand.NewPCG(s.cfg.Seed, uint64(i)))
	}
	now := s.now()
	for _, a := range s.cfg.Accounts {
		s.addAccount(a, now)
	}
	s.setSettings(s.cfg.Settings.clone(), now)
}

// Close ends calls that hang or are slow, with a reset. It does not stop
// listeners; the stop function of [Sim.Start] does, and calls Close.
func (s *Sim) Close() { s.stopOnce.Do(func() { close(s.stop) }) }

// Now is the simulator's time.
func (s *Sim) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Sim) now() time.Time { return s.cfg.Clock().Add(s.offset).UTC() }

// Advance moves the clock forward and carries out what falls due by that.
func (s *Sim) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	s.offset += d
	s.settle()
}

// Settings returns the settings as given; the copy is the caller's.
func (s *Sim) Settings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.clone()
}

// SetSettings replaces the settings; calls that are under way keep what they
// have read already. Counters of Settings.Faults start anew.
func (s *Sim) SetSettings(set Settings) error {
	return s.update(func(now *Settings) error { *now = set.clone(); return nil })
}

// Update changes the settings in place, as one step. change must not call the Sim.
func (s *Sim) Update(change func(*Settings)) error {
	return s.update(func(now *Settings) error { change(now); return nil })
}

func (s *Sim) update(change func(*Settings) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.raw.clone()
	if err := change(&set); err != nil {
		return err
	}
	if err := set.Validate(); err != nil {
		return fmt.Errorf("sim settings: %w", err)
	}
	s.setSettings(set, s.settle())
	return nil
}

func (s *Sim) setSettings(set Settings, now time.Time) {
	full := set.withDefaults()
	if full.Rules.MixedUndo == "" {
		full.Rules.MixedUndo = "ItemUndo"
		if s.cfg.Version < 5 {
			full.Rules.MixedUndo = "Item"
		}
	}
	s.raw, s.set = set, &full
	if s.list == nil || s.list.Code != set.Rules.ListCode {
		s.list = nil
		if set.Rules.ListCode != "" {
			s.list = &operation{Operation: nmvs.Operation{Code: set.Rules.ListCode, Kind: nmvs.KindHeader}}
		}
	}
	s.standing = nil
	for _, r := range set.Faults {
		s.standing = append(s.standing, &armed{Rule: r, left: -1})
		if r.Count > 0 {
			s.standing[len(s.standing)-1].left = r.Count
		}
	}
	if !set.Maintenance.On {
		for _, b := range s.parked {
			s.schedule(now, b.carryOut)
		}
		s.parked = nil
	}
	s.settle()
}

// event is something to be carried out at a time.
type event struct {
	due time.Time
	n   uint64
	run func(s *Sim, at time.Time)
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if !e[i].due.Equal(e[j].due) {
		return e[i].due.Before(e[j].due)
	}
	return e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	(*e)[len(*e)-1] = event{}
	*e = (*e)[:len(*e)-1]
	return last
}

func (s *Sim) schedule(due time.Time, run func(s *Sim, at time.Time)) {
	s.eventN++
	heap.Push(&s.events, event{due, s.eventN, run})
}

// settle carries out what is due and returns the time. Called under mu by
// everything that looks at the state.
func (s *Sim) settle() time.Time {
	now := s.now()
	for len(s.events) > 0 && !s.events[0].due.After(now) {
		e := heap.Pop(&s.events).(event)
		e.run(s, e.due)
	}
	return now
}

// txID is an NMVSTrxId: 128 bits, written as 32 hexadecimal digits.
type txID [2]uint64

const hexDigits = "0123456789ABCDEF"

func (t txID) String() string {
	if t == (txID{}) {
		return ""
	}
	var b [32]byte
	return string(t.append(b[:0]))
}

func (t txID) append(b []byte) []byte {
	for _, w := range t {
		for i := 60; i >= 0; i -= 4 {
			b = append(b, hexDigits[w>>i&15])
		}
	}
	return b
}

// parseTx reads what append wrote; anything else is the zero id, which no bulk has.
func parseTx(b []byte) (t txID) {
	if len(b) != 32 {
		return t
	}
	for i, c := range b {
		var v uint64
		switch {
		case c >= '0' && c <= '9':
			v = uint64(c - '0')
		case c >= 'A' && c <= 'F':
			v = uint64(c-'A') + 10
		default:
			return txID{}
		}
		t[i/16] = t[i/16]<<4 | v
	}
	return t
}

func (s *Sim) newTx() txID { return txID{s.ids.Uint64(), s.ids.Uint64() | 1} }

const base36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// alertID writes the n-th alert as a UPRC: CC-XXX-XXX-XXX-XXX-XXX
// (nmvs-interface.md 1.14). The first two groups count, so ids never repeat.
func (s *Sim) alertID(n uint64, market string) string {
	if n == 0 {
		return ""
	}
	h := (n ^ s.cfg.Seed) * 0x9e3779b97f4a7c15
	h ^= h >> 31
	b := make([]byte, 0, 22)
	b = append(b, market...)
	count := n
	var head [6]byte
	for i := 5; i >= 0; i-- {
		head[i] = base36[count%36]
		count /= 36
	}
	for i := range 15 {
		if i%3 == 0 {
			b = append(b, '-')
		}
		if i < 6 {
			b = append(b, head[i])
			continue
		}
		b = append(b, base36[h%36])
		h /= 36
	}
	return string(b)
}
