package report

import (
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// Tally takes an account's records from the first one on and gathers what the official
// indicators rest on (domain.md section 11).
type Tally struct {
	day    Day // the indicators are as of its end
	window Day // the first day of the two rolling months
	book   *ledger.Book
	head   ledger.Head
	begins time.Time

	answered time.Time // when NMVS first answered anything
	last     time.Time // the newest transaction: a verify or a decommissioning
	verifies int       // in the window
	changes  int
	outcomes map[scan.Result]int    // in the window, of scans that ask to decommission
	due      map[scan.PackID]string // accepted, to be sent again -> when their attempt was opened
	replies  int                    // outcomes of the window that rest on an answer of NMVS
	alerts   int
}

// NewTally returns a tally that has seen nothing.
func NewTally(day Day) *Tally {
	return &Tally{day: day, window: day.Window(), book: ledger.NewBook(), outcomes: map[scan.Result]int{}, due: map[scan.PackID]string{}}
}

// Take takes the record that head names, stored at t; false when the day was over before.
func (y *Tally) Take(head ledger.Head, t time.Time, rec *ledger.Record) bool {
	if !t.Before(y.day.To) {
		return false
	}
	if y.begins.IsZero() {
		y.begins = t
	}
	y.head = head
	in := !t.Before(y.window.From)
	for i := range rec.Fact {
		if rec.Fact[i].Kind == ledger.Submitted {
			y.heard(t)
		}
	}
	eachOutcome(y.book, rec, func(o *ledger.Origin, a *ledger.Answer, trx string) {
		if a.Code != "" && trx != "" {
			y.heard(t)
			y.transaction(t, in, o.Op)
			if in {
				y.replies++
				if a.Result == scan.Alert {
					y.alerts++
				}
			}
		}
		if in && o.Op != scan.Verify && !o.Op.IsUndo() {
			y.outcomes[a.Result]++
		}
	})
	y.owe(rec)
	y.book.Add(head.Seq, rec)
	return true
}

// owe follows the packs between two attempts.
func (y *Tally) owe(rec *ledger.Record) {
	for i := range rec.Open {
		for j := range rec.Open[i].Packs {
			if p, err := rec.Open[i].Pack(j); err == nil {
				delete(y.due, p.ID())
			}
		}
	}
	for i := range rec.Fact {
		f := &rec.Fact[i]
		at := y.book.Attempt(f.C)
		for j := range f.Packs {
			p := &f.Packs[j]
			switch {
			case f.Kind != ledger.Off && f.Kind != ledger.Release:
				delete(y.due, p.K)
			case at != nil && at.Of == f.Of && p.I >= 0 && p.I < len(at.Packs) && at.IsLeft(p.I):
				y.due[p.K] = at.At
			}
		}
	}
}

func (y *Tally) heard(t time.Time) {
	if y.answered.IsZero() {
		y.answered = t
	}
}

// transaction counts what makes a PUI active: verifying and decommissioning. Taking a
// decommissioning back is neither.
func (y *Tally) transaction(t time.Time, in bool, op scan.Op) {
	if op.IsUndo() {
		return
	}
	if t.After(y.last) {
		y.last = t
	}
	switch {
	case !in:
	case op == scan.Verify:
		y.verifies++
	default:
		y.changes++
	}
}

// Credentials is what is known of an account's login besides the ledger.
type Credentials struct {
	Named       bool      // client login and user are configured
	Certificate time.Time // its end; zero: there is none that can be read
	Problem     string    // why it cannot
}

// Standing is how an account stands in the official indicators. Fields are added, never renamed.
type Standing struct {
	PUI
	Registered bool   `json:"registered"`
	Connected  bool   `json:"connected"`
	Active     bool   `json:"active"`
	Why        Notice `json:"why"` // what the next step lacks; code empty: it is active

	Verifies    int      `json:"verify_transactions"`       // in the window
	Changes     int      `json:"decommission_transactions"` // in the window
	Last        string   `json:"last_transaction,omitempty"`
	ActiveUntil string   `json:"active_until,omitempty"` // the last day, if nothing more comes
	DaysLeft    int      `json:"days_left"`              // from the day of the report to that one
	Share       *float64 `json:"decommissioned_share"`   // of scans that asked for it, duplicates left out; nil: there were none
	AlertRate   *float64 `json:"alert_rate"`             // alerts among answers of NMVS; nil: there were none
	Alerts      int      `json:"alerts"`
	OldestOpen  string   `json:"oldest_unsettled,omitempty"` // when the oldest attempt that led to no result was opened
	Unsettled   int      `json:"unsettled_packs"`            // accepted, and without result
	Head        uint64   `json:"ledger_head_seq"`
	HeadHash    string   `json:"ledger_head_hash"`
	Begins      string   `json:"ledger_begins,omitempty"`
}

// Finish judges the account. Each step holds the one before: a PUI that NMVS has answered is
// registered, whatever this machine's configuration lacks.
func (y *Tally) Finish(pui PUI, cred Credentials) Standing {
	s := Standing{PUI: pui, Verifies: y.verifies, Changes: y.changes, Alerts: y.alerts, Head: y.head.Seq, HeadHash: y.head.Hash}
	s.Connected = !y.answered.IsZero()
	s.Registered = s.Connected || cred.Named && cred.Certificate.After(y.day.From)
	s.Active = y.verifies+y.changes > 0
	s.Why = y.why(&s, cred)
	if !y.begins.IsZero() {
		s.Begins = y.day.stamp(y.begins)
	}
	if !y.last.IsZero() {
		s.Last = y.day.stamp(y.last)
	}
	if s.Active {
		for y.day.plus(s.DaysLeft+1).Window().From.Compare(y.last) <= 0 {
			s.DaysLeft++
		}
		s.ActiveUntil = y.day.plus(s.DaysLeft).Date()
	}
	asked := 0
	for r, n := range y.outcomes {
		if r != scan.Duplicate {
			asked += n
		}
	}
	if asked > 0 {
		s.Share = new(float64(y.outcomes[scan.Done]) / float64(asked))
	}
	if y.replies > 0 {
		s.AlertRate = new(float64(y.alerts) / float64(y.replies))
	}
	y.unsettled(&s)
	return s
}

// unsettled finds the packs that were accepted and have no result, and since when.
func (y *Tally) unsettled(s *Standing) {
	var oldest time.Time
	since := func(at string) {
		if t, err := time.Parse(time.RFC3339Nano, at); err == nil && (oldest.IsZero() || t.Before(oldest)) {
			oldest = t
			s.OldestOpen = y.day.stamp(t)
		}
	}
	y.book.Attempts(func(at *ledger.Attempt) {
		s.Unsettled += at.Left()
		since(at.At)
	})
	for _, at := range y.due {
		s.Unsettled++
		since(at)
	}
}

func parsed(stamp string) time.Time {
	t, _ := time.Parse(time.RFC3339, stamp) // written by stamp
	return t
}

func (y *Tally) why(s *Standing, cred Credentials) Notice {
	switch {
	case s.Active:
		return Notice{}
	case s.Connected && y.last.IsZero():
		return Notice{"no_transaction", scan.Text{FR: "aucune vérification ni désactivation n'a encore eu de réponse", EN: "no verification or decommissioning was answered yet"}}
	case s.Connected:
		at := y.day.stamp(y.last)
		return Notice{"no_recent_transaction", scan.Text{FR: "dernière transaction le " + at, EN: "last transaction at " + at}}
	case s.Registered:
		return Notice{"never_answered", scan.Text{FR: "le NMVS n'a encore répondu à aucun appel de ce compte", EN: "NMVS has not answered any call of this account yet"}}
	case !cred.Named:
		return Notice{"no_login", scan.Text{FR: "client_login_id ou user_id manque dans la configuration", EN: "client_login_id or user_id is missing in the configuration"}}
	case cred.Certificate.IsZero():
		if cred.Problem == "" {
			return Notice{"no_certificate", scan.Text{FR: "aucun certificat dans la configuration", EN: "no certificate in the configuration"}}
		}
		return Notice{"no_certificate", scan.Text{FR: "certificat inutilisable : " + cred.Problem, EN: "the certificate cannot be used: " + cred.Problem}}
	}
	end := cred.Certificate.UTC().Format(time.DateOnly)
	return Notice{"certificate_expired", scan.Text{FR: "le certificat a pris fin le " + end, EN: "the certificate ended on " + end}}
}
