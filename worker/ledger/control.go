package ledger

import "time"

// Control is what a person sets with a pause or a tune, or what a withhold is about.
type Control struct {
	Until  int64   `json:"until,omitempty"`  // milliseconds since 1970; 0: until a Continue
	Limits *Limits `json:"limits,omitempty"` // tune
	Scope  string  `json:"scope,omitempty"`  // withhold, free: as Scope.String writes it
}

// Limits are other limits than the configuration's; what is zero stays as configured.
// The rates are the account's over the whole fleet, in the form that ratelimit.ParseRate
// reads; parallel is each process's.
type Limits struct {
	Single   string `json:"single,omitempty"`   // calls of the single service
	Bulk     string `json:"bulk,omitempty"`     // submits and polls
	Parallel int    `json:"parallel,omitempty"` // calls at once
	Batch    int    `json:"batch,omitempty"`    // packs of one bulk
	Above    bool   `json:"above,omitempty"`    // may be above what the configuration allows
}

// Standing is a pause or a tune with the record that set it.
type Standing struct {
	Seq uint64 `json:"seq"` // of the record
	Who string `json:"who"`
	Why string `json:"why"`
	At  string `json:"at"` // the writer's clock
	Control
}

// Over says that the time set for it has passed. It ends by itself then, without a
// record: every process reads the same moment from the same fact.
func (s *Standing) Over(now time.Time) bool { return s.Until != 0 && now.UnixMilli() >= s.Until }

// Controls is what people have set for an account, by its records up to Seq. The newest
// pause and the newest tune count, each as a whole; a Continue ends both. The zero value
// is that of an account nobody ever paused or tuned. It says nothing about packs: Fold
// and Controls read the same records apart from each other.
type Controls struct {
	Seq   uint64    `json:"seq"` // of the last record that changed it
	Pause *Standing `json:"pause,omitempty"`
	Tune  *Standing `json:"tune,omitempty"`
	// Verify says that both stores lost what they knew: until a person ends it, each pack is
	// verified ACTIVE before its open (protocol.md section 9). No pause or tune touches it.
	Verify *Standing `json:"verify,omitempty"`
	// Withheld are the batches and devices of which nothing new is opened, oldest record
	// first; of one scope the newest word counts. A Continue does not touch them.
	Withheld []Standing `json:"withheld,omitempty"`
}

// Add takes the record at seq and says whether it changed anything. Records that were
// taken already change nothing, so a reader may begin too early.
func (c *Controls) Add(seq uint64, r *Record) bool {
	if seq <= c.Seq {
		return false
	}
	changed := false
	for i := range r.Fact {
		f := &r.Fact[i]
		s := Standing{Seq: seq, Who: f.Who, Why: f.Why, At: r.At}
		if f.Control != nil {
			s.Control = *f.Control
		}
		switch f.Kind {
		case Pause:
			c.Pause = &s
		case Tune:
			c.Tune = &s
		case Continue:
			c.Pause, c.Tune = nil, nil
		case VerifyFirst:
			c.Verify = &s
		case VerifyEnd:
			c.Verify = nil
		case Withhold, LetGo:
			c.withhold(f.Kind, s)
		default:
			continue
		}
		changed = true
	}
	if changed {
		c.Seq = seq
	}
	return changed
}

// Now returns the pause and the tune that count at that time, nil where there is none.
func (c *Controls) Now(now time.Time) (pause, tune *Standing) {
	if c.Pause != nil && !c.Pause.Over(now) {
		pause = c.Pause
	}
	if c.Tune != nil && !c.Tune.Over(now) {
		tune = c.Tune
	}
	return pause, tune
}

// NextEnd returns when the next pause, tune or withhold ends by itself, zero when none does.
func (c *Controls) NextEnd(now time.Time) (end time.Time) {
	next := func(s *Standing) {
		if s == nil || s.Until == 0 || s.Over(now) {
			return
		}
		if t := time.UnixMilli(s.Until); end.IsZero() || t.Before(end) {
			end = t
		}
	}
	next(c.Pause)
	next(c.Tune)
	for i := range c.Withheld {
		next(&c.Withheld[i])
	}
	return end
}
