package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Indicators are the official counts over the accounts of a configuration. Fields are added,
// never renamed.
type Indicators struct {
	Date       string     `json:"date"`
	Zone       string     `json:"zone"`
	WindowFrom string     `json:"window_from"` // first day of the two rolling months
	WindowTo   string     `json:"window_to"`   // last day: Date
	Accounts   []Standing `json:"accounts"`
	Groups     []Group    `json:"groups"`
	Total      Counts     `json:"total"`
	day        Day
}

// Counts is how many PUIs reached each step.
type Counts struct {
	PUIs       int `json:"puis"`
	Registered int `json:"registered"`
	Connected  int `json:"connected"`
	Active     int `json:"active"`
}

// Group is the counts of the PUIs that share something.
type Group struct {
	By   string `json:"by"`   // region, overseas or legal_status
	Name string `json:"name"` // empty: the configuration does not say
	Counts
}

// Count gathers standings.
func Count(day Day, all []Standing) *Indicators {
	x := &Indicators{Date: day.Date(), Zone: day.ZoneName(), WindowFrom: day.Window().Date(), WindowTo: day.Date(), Accounts: all, Groups: []Group{}, day: day}
	for i := range all {
		s := &all[i]
		x.Total.add(s)
		x.group("region", s.Region).add(s)
		if s.Region != "" {
			name := "metropolitan"
			if IsOverseas(s.Region) {
				name = "overseas"
			}
			x.group("overseas", name).add(s)
		}
		x.group("legal_status", s.Status).add(s)
	}
	order := map[string]int{"region": 0, "overseas": 1, "legal_status": 2}
	slices.SortStableFunc(x.Groups, func(a, b Group) int { return cmp.Or(order[a.By]-order[b.By], cmp.Compare(a.Name, b.Name)) })
	return x
}

func (x *Indicators) group(by, name string) *Counts {
	for i := range x.Groups {
		if x.Groups[i].By == by && x.Groups[i].Name == name {
			return &x.Groups[i].Counts
		}
	}
	x.Groups = append(x.Groups, Group{By: by, Name: name})
	return &x.Groups[len(x.Groups)-1].Counts
}

func (c *Counts) add(s *Standing) {
	c.PUIs++
	for _, it := range []struct {
		n  *int
		is bool
	}{{&c.Registered, s.Registered}, {&c.Connected, s.Connected}, {&c.Active, s.Active}} {
		if it.is {
			*it.n++
		}
	}
}

// Text writes them for people.
func (x *Indicators) Text(to io.Writer, w Words) error {
	p := &page{w: tabwriter.NewWriter(to, 0, 8, 2, ' ', 0), words: w}
	p.line("Indicateurs au %s (fin de journée, %s)", "Indicators as of %s (end of the day, %s)", longDate(w, x.day.From), x.Zone)
	p.line("deux mois glissants : du %s au %s", "two rolling months: %s to %s", x.WindowFrom, x.WindowTo)
	p.gap()
	p.line("compte\tFINESS\trégion\tenregistrée\tconnectée\tactive\tactive jusqu'au\tjours\tvérifications\tdésactivations\tpart désactivée\ttaux d'alerte\tnon réglées",
		"account\tFINESS\tregion\tregistered\tconnected\tactive\tactive until\tdays\tverifications\tdecommissionings\tshare decommissioned\talert rate\tunsettled")
	for i := range x.Accounts {
		s := &x.Accounts[i]
		days := "-"
		if s.Active {
			days = fmt.Sprint(s.DaysLeft)
		}
		p.line("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%d", "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%d", s.Account, dash(s.FINESS), dash(s.Region),
			yes(w, s.Registered), yes(w, s.Connected), yes(w, s.Active), dash(s.ActiveUntil), days, s.Verifies, s.Changes, percent(w, s.Share), percent(w, s.AlertRate), s.Unsettled)
	}
	p.gap()
	p.line("groupe\tPUI\tenregistrées\tconnectées\tactives", "group\tPUIs\tregistered\tconnected\tactive")
	for _, g := range x.Groups {
		p.line("%s\t%d\t%d\t%d\t%d", "%s\t%d\t%d\t%d\t%d", g.text(w), g.PUIs, g.Registered, g.Connected, g.Active)
	}
	p.line("ensemble\t%d\t%d\t%d\t%d", "all\t%d\t%d\t%d\t%d", x.Total.PUIs, x.Total.Registered, x.Total.Connected, x.Total.Active)
	x.whys(p)
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}

// whys says what keeps a PUI from the next step, and since when something waits.
func (x *Indicators) whys(p *page) {
	first := true
	say := func(fr, en string, args ...any) {
		if first {
			p.gap()
		}
		first = false
		p.line(fr, en, args...)
	}
	for i := range x.Accounts {
		s := &x.Accounts[i]
		if s.Why.Code != "" {
			say("! %s : %s", "! %s: %s", s.Account, p.words(s.Why.Message))
		}
		if s.OldestOpen != "" {
			say("! %s : le plus ancien envoi sans résultat date du %s", "! %s: the oldest attempt without a result is of %s", s.Account, s.OldestOpen)
		}
		if s.Begins != "" && parsed(s.Begins).After(x.day.Window().From) {
			say("  %s : le registre commence le %s, après le début des deux mois", "  %s: the ledger begins at %s, after the two months began", s.Account, s.Begins)
		}
	}
}

func (g *Group) text(w Words) string {
	name := g.Name
	switch {
	case name == "":
		name = w.of("sans indication", "not given")
	case g.By == "overseas" && name == "overseas":
		name = w.of("outre-mer", "overseas")
	case g.By == "overseas":
		name = w.of("métropole", "metropolitan")
	}
	by := map[string]string{"region": w.of("région", "region"), "overseas": w.of("territoire", "territory"), "legal_status": w.of("statut", "status")}[g.By]
	return by + " " + name
}

func yes(w Words, b bool) string {
	if b {
		return w.of("oui", "yes")
	}
	return w.of("non", "no")
}

func percent(w Words, x *float64) string {
	if x == nil {
		return "-"
	}
	s := fmt.Sprintf("%.2f", 100**x)
	return w.of(strings.Replace(s, ".", ",", 1)+" %", s+"%")
}

// IndicatorColumns are those of the CSV. Columns are added at the end, never renamed.
var IndicatorColumns = []string{"date", "zone", "window_from", "account", "finess", "region", "overseas", "legal_status", "registered", "connected", "active", "why",
	"verify_transactions", "decommission_transactions", "last_transaction", "active_until", "days_left", "decommissioned_share", "alerts", "alert_rate", "unsettled_packs", "oldest_unsettled"}

// Rows lists the accounts under [IndicatorColumns].
func (x *Indicators) Rows() [][]any {
	var rows [][]any
	for i := range x.Accounts {
		s := &x.Accounts[i]
		rows = append(rows, []any{x.Date, x.Zone, x.WindowFrom, s.Account, s.FINESS, s.Region, fmt.Sprint(IsOverseas(s.Region)), s.Status, fmt.Sprint(s.Registered), fmt.Sprint(s.Connected),
			fmt.Sprint(s.Active), s.Why.Code, s.Verifies, s.Changes, s.Last, s.ActiveUntil, s.DaysLeft, ratio(s.Share), s.Alerts, ratio(s.AlertRate), s.Unsettled, s.OldestOpen})
	}
	return rows
}

// ratio leaves the cell empty where there was nothing to count.
func ratio(x *float64) any {
	if x == nil {
		return ""
	}
	return *x
}

// Sheets lays them out as a workbook.
func (x *Indicators) Sheets(w Words) []Sheet {
	groups := Sheet{Name: w.of("Groupes", "Groups"), Head: []string{w.of("groupe", "group"), "PUI", w.of("enregistrées", "registered"), w.of("connectées", "connected"), w.of("actives", "active")}}
	for _, g := range x.Groups {
		groups.Rows = append(groups.Rows, []any{g.text(w), g.PUIs, g.Registered, g.Connected, g.Active})
	}
	groups.Rows = append(groups.Rows, []any{w.of("ensemble", "all"), x.Total.PUIs, x.Total.Registered, x.Total.Connected, x.Total.Active})
	return []Sheet{{Name: "PUI", Head: IndicatorColumns, Rows: x.Rows()}, groups}
}
