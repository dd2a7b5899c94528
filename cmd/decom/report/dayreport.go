package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"decom/worker/scan"
)

// PUI is what the configuration says of an account, as far as the authorities ask for it.
type PUI struct {
	Account string   `json:"account"`
	Sites   []string `json:"-"`
	FINESS  string   `json:"finess,omitempty"`
	Region  string   `json:"region,omitempty"`
	Status  string   `json:"legal_status,omitempty"`
}

// DayReport is one account's day. Fields are added, never renamed.
type DayReport struct {
	PUI
	Date     string        `json:"date"`
	Zone     string        `json:"zone"`
	From     string        `json:"from"`
	To       string        `json:"to"`
	Hours    int           `json:"hours"`    // 23 or 25 when clocks change
	Complete bool          `json:"complete"` // false: the day was not over when the report was made
	Ledger   LedgerRange   `json:"ledger"`
	Notes    []Notice      `json:"notes"`
	Totals   Totals        `json:"totals"`
	Sites    []SiteReport  `json:"sites"`
	Waiting  []WaitingPack `json:"waiting"` // for a person, at the end of the day, oldest first
	Actions  []Action      `json:"actions"`
	cells    map[Cell]int
	ends     map[endKey]int
	day      Day
}

// LedgerRange names the records that the report was made of.
type LedgerRange struct {
	First    uint64 `json:"first_seq,omitempty"` // of the day; 0: it has none
	Last     uint64 `json:"last_seq,omitempty"`
	Head     uint64 `json:"head_seq"` // the last one before the end of the day
	HeadHash string `json:"head_hash"`
	Begins   string `json:"begins,omitempty"` // when the ledger's first record of all was stored
}

// Notice says what the reader of a report must know of it.
type Notice struct {
	Code    string    `json:"code"` // ledger_empty, ledger_begins_later
	Message scan.Text `json:"message"`
}

// Totals are sums over outcomes, and the packs that were not settled.
type Totals struct {
	Scans    int                                 `json:"scans"` // with an outcome in the day
	Results  map[scan.Result]int                 `json:"results"`
	Done     map[string]int                      `json:"done"` // by operation
	Reasons  map[scan.Result]map[scan.Reason]int `json:"reasons"`
	Scanned  int                                 `json:"entry_scanned"`
	Manual   int                                 `json:"entry_manual"`
	Repaired int                                 `json:"repaired"`
	End      map[DayEnd]int                      `json:"end_of_day"` // packs
}

// SiteReport is one site's part; the empty name gathers packs of which no scan is known.
type SiteReport struct {
	Site string `json:"site"`
	Totals
	Devices []Row `json:"devices"`
	Hours   []Row `json:"hours"` // those with outcomes
}

// Row is the outcomes of a device or of an hour.
type Row struct {
	Device  string              `json:"device,omitempty"`
	Hour    string              `json:"hour,omitempty"` // its beginning, with offset
	Scans   int                 `json:"scans"`
	Manual  int                 `json:"entry_manual"`
	Results map[scan.Result]int `json:"results"`
}

// WaitingPack is a pack that waits for a person.
type WaitingPack struct {
	Since   string      `json:"since"`
	Pack    scan.PackID `json:"pack"`
	Scheme  scan.Scheme `json:"scheme,omitempty"`
	Product string      `json:"product,omitempty"`
	Serial  string      `json:"serial,omitempty"`
	Batch   string      `json:"batch,omitempty"`
	Expiry  string      `json:"expiry,omitempty"`
	Op      string      `json:"op,omitempty"`
	Result  scan.Result `json:"result"`
	Reason  scan.Reason `json:"reason"`
	Code    string      `json:"code,omitempty"`
	AlertID string      `json:"alert_id,omitempty"`
	Source  string      `json:"source,omitempty"`
	Event   string      `json:"event_id,omitempty"`
	Message scan.Text   `json:"message"`
}

// Stand is a pack that was in no attempt and not settled when the day ended.
type Stand struct {
	Source string // SITE/DEVICE of its scan; empty: not known
	End    DayEnd // Due or Waiting
}

type endKey struct {
	site, device string
	end          DayEnd
}

// results is the order of columns.
var results = []scan.Result{scan.Done, scan.Duplicate, scan.Refused, scan.Alert, scan.Rejected, scan.Unresolved}

// Finish makes the report of what was taken. stands and waiting are the packs in no attempt,
// by the fold of the same records; site, unless empty, leaves out the others; now decides
// whether the day was over.
func (r *Reader) Finish(pui PUI, site string, stands []Stand, waiting []WaitingPack, now time.Time) *DayReport {
	d := &DayReport{PUI: pui, Date: r.day.Date(), Zone: r.day.ZoneName(), From: r.day.stamp(r.day.From), To: r.day.stamp(r.day.To), Hours: r.day.Hours(),
		Complete: !now.Before(r.day.To), Notes: r.notices(), Waiting: waiting, Actions: r.actions, day: r.day,
		Ledger: LedgerRange{First: r.first, Last: r.last, Head: r.head.Seq, HeadHash: r.head.Hash},
		cells:  map[Cell]int{}, ends: map[endKey]int{}}
	if !r.begins.IsZero() {
		d.Ledger.Begins = r.day.stamp(r.begins)
	}
	for c, n := range r.cells {
		if site == "" || c.Site == site {
			d.cells[c] = n
		}
	}
	end := func(src string, e DayEnd) {
		s, device, _ := strings.Cut(src, "/")
		if site == "" || s == site || s == "" {
			d.ends[endKey{s, device, e}]++
		}
	}
	r.Unsettled(end)
	for _, s := range stands {
		end(s.Source, s.End)
	}
	if site != "" {
		d.Waiting = slices.DeleteFunc(slices.Clone(waiting), func(w WaitingPack) bool { return w.Source != "" && !strings.HasPrefix(w.Source, site+"/") })
	}
	d.Waiting = slices.Clone(d.Waiting)
	for i := range d.Waiting {
		if t, err := time.Parse(time.RFC3339Nano, d.Waiting[i].Since); err == nil {
			d.Waiting[i].Since = r.day.stamp(t)
		}
	}
	if d.Waiting == nil {
		d.Waiting = []WaitingPack{}
	}
	if d.Actions == nil {
		d.Actions = []Action{}
	}
	d.sum(pui.Sites, site)
	return d
}

// notices tells how far back the ledger reaches.
func (r *Reader) notices() []Notice {
	switch {
	case r.begins.IsZero():
		return []Notice{{"ledger_empty", scan.Text{FR: "Le registre de ce compte n'a aucun enregistrement jusqu'à la fin de ce jour.", EN: "This account's ledger has no record up to the end of this day."}}}
	case r.begins.After(r.day.From):
		at := r.day.stamp(r.begins)
		return []Notice{{"ledger_begins_later", scan.Text{FR: "Le registre ne remonte pas plus loin que " + at + " : rien n'est connu de ce qui précède.",
			EN: "The ledger reaches back to " + at + " only: nothing is known of what was before."}}}
	}
	return []Notice{}
}

// sum makes totals and sites of the cells.
func (d *DayReport) sum(configured []string, only string) {
	sites := map[string]*SiteReport{}
	at := func(name string) *SiteReport {
		s := sites[name]
		if s == nil {
			s = &SiteReport{Site: name, Totals: newTotals(), Devices: []Row{}, Hours: []Row{}}
			sites[name] = s
		}
		return s
	}
	for _, name := range configured {
		if only == "" || name == only {
			at(name)
		}
	}
	d.Totals = newTotals()
	devices, hours := map[[2]string]*Row{}, map[string]map[int64]*Row{}
	for c, n := range d.cells {
		s := at(c.Site)
		s.add(c, n)
		d.Totals.add(c, n)
		k := [2]string{c.Site, c.Device}
		if devices[k] == nil {
			devices[k] = &Row{Device: c.Device, Results: map[scan.Result]int{}}
		}
		devices[k].add(c, n)
		if hours[c.Site] == nil {
			hours[c.Site] = map[int64]*Row{}
		}
		if hours[c.Site][c.Hour] == nil {
			hours[c.Site][c.Hour] = &Row{Hour: d.day.stamp(time.Unix(c.Hour, 0)), Results: map[scan.Result]int{}}
		}
		hours[c.Site][c.Hour].add(c, n)
	}
	for k, n := range d.ends {
		at(k.site).End[k.end] += n
		d.Totals.End[k.end] += n
	}
	for k, row := range devices {
		sites[k[0]].Devices = append(sites[k[0]].Devices, *row)
	}
	for _, name := range slices.Sorted(maps.Keys(sites)) {
		s := sites[name]
		slices.SortFunc(s.Devices, func(a, b Row) int { return cmp.Compare(a.Device, b.Device) })
		for _, h := range slices.Sorted(maps.Keys(hours[name])) {
			s.Hours = append(s.Hours, *hours[name][h])
		}
		d.Sites = append(d.Sites, *s)
	}
	if d.Sites == nil {
		d.Sites = []SiteReport{}
	}
}

func newTotals() Totals {
	t := Totals{Results: map[scan.Result]int{}, Done: map[string]int{}, Reasons: map[scan.Result]map[scan.Reason]int{}, End: map[DayEnd]int{}}
	for _, r := range results {
		t.Results[r] = 0
	}
	for _, e := range dayEnds {
		t.End[e] = 0
	}
	return t
}

func (t *Totals) add(c Cell, n int) {
	t.Scans += n
	t.Results[c.Result] += n
	if c.Result == scan.Done {
		t.Done[c.Op.String()] += n
	}
	if c.Reason != "" {
		if t.Reasons[c.Result] == nil {
			t.Reasons[c.Result] = map[scan.Reason]int{}
		}
		t.Reasons[c.Result][c.Reason] += n
	}
	if c.Manual {
		t.Manual += n
	} else {
		t.Scanned += n
	}
	if c.Repaired {
		t.Repaired += n
	}
}

func (r *Row) add(c Cell, n int) {
	r.Scans += n
	r.Results[c.Result] += n
	if c.Manual {
		r.Manual += n
	}
}
