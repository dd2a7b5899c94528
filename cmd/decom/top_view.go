package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"decom/worker/scan"
)

// topView is how a status is drawn: pure, but for what is set in it.
type topView struct {
	lang   language
	now    time.Time
	filter string
	typing bool
	sort   int // in topSorts
	offset int // first account shown
	width  int // 0: not limited
	height int // 0: not limited
	live   bool
	err    error // of the last look
}

// topSorts are the orders of accounts that the key s goes through. Worst first.
var topSorts = []struct {
	name string
	less func(a, b *AccountStatus) int
}{
	{"name", func(a, b *AccountStatus) int { return cmp.Compare(a.Account, b.Account) }},
	{"oldest", func(a, b *AccountStatus) int { return cmp.Compare(b.OldestSeconds, a.OldestSeconds) }},
	{"backlog", func(a, b *AccountStatus) int { return cmp.Compare(b.Pending+b.Unacked, a.Pending+a.Unacked) }},
	{"doubt", func(a, b *AccountStatus) int { return cmp.Compare(b.InDoubt+b.Parked, a.InDoubt+a.Parked) }},
}

func (v *topView) text(fr, en string, args ...any) string {
	return fmt.Sprintf(v.lang.of(scan.Text{FR: fr, EN: en}), args...)
}

// frame draws the status; prev, if there is one, is what rates are taken from.
func (v *topView) frame(prev, cur *Status) string {
	if cur == nil {
		if v.err != nil {
			return v.fit([]string{v.text("aucune réponse : %v", "no answer: %v", v.err)})
		}
		return v.text("premier regard...", "first look...")
	}
	head := v.head(prev, cur)
	foot := v.foot(cur)
	accounts := filterAccounts(cur.Accounts, v.filter)
	slices.SortStableFunc(accounts, func(a, b AccountStatus) int { return topSorts[v.sort].less(&a, &b) })
	table := v.table(prev, cur, accounts)
	if len(accounts) == 0 && v.filter != "" {
		table = []string{v.text("aucun compte ni site n'a « %s » dans son nom", "no account and no site has %q in its name", v.filter)}
	}
	room := len(table)
	if v.height > 0 {
		room = max(v.height-len(head)-len(foot), 2) // the table's own head, and a line
		if room < len(table) {
			room = max(room-1, 2) // for the line that says how many more there are
		}
	}
	rows := table[1:]
	v.offset = min(v.offset, max(len(rows)-(room-1), 0))
	shown := rows[v.offset:min(v.offset+room-1, len(rows))]
	if hidden := len(rows) - len(shown); hidden > 0 {
		foot = append(foot, v.text("%d ligne(s) de plus", "%d more line(s)", hidden))
	}
	return v.fit(slices.Concat(head, table[:1], shown, foot))
}

// fit cuts each line to the width; serials and the like are never in them.
func (v *topView) fit(lines []string) string {
	for i, line := range lines {
		if r := []rune(line); v.width > 0 && len(r) > v.width {
			lines[i] = string(r[:v.width])
		}
		if v.live && strings.HasPrefix(line, "!") {
			lines[i] = "\x1b[31m" + lines[i] + "\x1b[0m"
		}
	}
	return strings.Join(lines, "\n")
}

func (v *topView) head(prev, cur *Status) []string {
	who := v.text("pas de processus, lu dans NATS et Redis", "no process, read from NATS and Redis")
	if cur.Worker != "" {
		who = v.text("%s depuis %s, %d processus", "%s since %s, %d process(es)", cur.Worker, cur.Since, max(len(cur.Fleet), 1))
	}
	lines := []string{fmt.Sprintf("decom top  %s  %s  NATS %s  Redis %s", v.now.Format(time.TimeOnly), who, cur.NATS, cur.Redis)}
	if cur.Worker != "" {
		var b strings.Builder
		b.WriteString(v.text("depuis le départ :", "since start:"))
		total := totalResults(cur)
		for _, r := range []scan.Result{scan.Done, scan.Duplicate, scan.Refused, scan.Alert, scan.Rejected, scan.Unresolved} {
			fmt.Fprintf(&b, " %s %d", r, total[r])
		}
		if rate, ok := perSecond(prev, cur, func(s *Status) uint64 { return sumResults(totalResults(s)) }); ok {
			fmt.Fprintf(&b, "  %.1f/s", rate)
		}
		lines = append(lines, b.String())
	}
	if v.err != nil {
		lines = append(lines, v.text("! sans réponse depuis %s : %v", "! no answer since %s: %v", cur.At, v.err))
	}
	return append(lines, "")
}

func totalResults(s *Status) map[scan.Result]uint64 {
	total := map[scan.Result]uint64{}
	for i := range s.Accounts {
		for r, n := range s.Accounts[i].Results {
			total[r] += n
		}
	}
	return total
}

func sumResults(m map[scan.Result]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// perSecond is the rate between two statuses of the same process.
func perSecond(prev, cur *Status, count func(*Status) uint64) (float64, bool) {
	if prev == nil || prev.Worker != cur.Worker || cur.Worker == "" {
		return 0, false
	}
	t0, err0 := time.Parse(time.RFC3339Nano, prev.At)
	t1, err1 := time.Parse(time.RFC3339Nano, cur.At)
	before, after := count(prev), count(cur)
	if err0 != nil || err1 != nil || !t1.After(t0) || after < before {
		return 0, false
	}
	return float64(after-before) / t1.Sub(t0).Seconds(), true
}

// table has a head line, then each account's line, with what is wrong with it below.
func (v *topView) table(prev, cur *Status, accounts []AccountStatus) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, v.text("compte\tattente\tplus ancien\tdébit\tquota\tdisjoncteur\ten vol\ten doute\tà examiner\tretenus",
		"account\tbacklog\toldest\trate\tquota\tbreaker\tin flight\tin doubt\tto review\theld"))
	for i := range accounts {
		s := &accounts[i]
		rate, known := perSecond(prev, cur, func(st *Status) uint64 {
			for i := range st.Accounts {
				if st.Accounts[i].Account == s.Account {
					return sumResults(st.Accounts[i].Results)
				}
			}
			return 0
		})
		rateText := "-"
		if known {
			rateText = fmt.Sprintf("%.1f/s", rate)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\n", s.Account, s.Pending+s.Unacked,
			(time.Duration(s.OldestSeconds) * time.Second).String(), rateText, quota(s), breakers(s), s.InFlight, s.InDoubt, s.Parked, s.Held)
	}
	_ = w.Flush() // a strings.Builder takes everything
	rows := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	lines := rows[:1:1]
	for i := range accounts {
		lines = append(lines, strings.TrimRight(rows[i+1], " "))
		lines = append(lines, v.troubles(&accounts[i])...)
	}
	return lines
}

// quota is what the single service may do now, and of how much.
func quota(s *AccountStatus) string {
	for _, svc := range s.Services {
		if svc.Service == "single" {
			return fmt.Sprintf("%.3g/%.3g/s", svc.Rate, svc.Limit)
		}
	}
	return "-"
}

// breakers names the services whose breaker is not closed.
func breakers(s *AccountStatus) string {
	if len(s.Services) == 0 {
		return "-"
	}
	var open []string
	for _, svc := range s.Services {
		if svc.Breaker != "closed" {
			open = append(open, svc.Service+" "+svc.Breaker)
		}
	}
	if len(open) == 0 {
		return "closed"
	}
	return strings.Join(open, ",")
}

func (v *topView) troubles(s *AccountStatus) (lines []string) {
	if s.Halted {
		lines = append(lines, v.text("!   ARRÊTÉ : %s", "!   HALTED: %s", s.HaltedWhy))
	}
	for _, line := range append(s.controlLines(v.lang), s.withheldLines(v.lang)...) {
		lines = append(lines, "!   "+line)
	}
	if s.LedgerWaits > 0 {
		lines = append(lines, v.text("!   un enregistrement attend depuis %.0f s : disque de NATS plein ?", "!   a record has waited %.0f s to be stored: is NATS's disk full?", s.LedgerWaits))
	}
	if s.Trouble != "" {
		lines = append(lines, v.text("!   attend : %s", "!   waits: %s", s.Trouble))
	}
	if s.Stores != "" {
		lines = append(lines, v.text("!   chiffres incomplets : %s", "!   figures missing: %s", s.Stores))
	}
	return lines
}

// alertsOnTop is how many alerts the view has room for.
const alertsOnTop = 5

func (v *topView) foot(cur *Status) []string {
	lines := []string{""}
	type alert struct {
		AlertStatus
		account string
	}
	var alerts []alert
	for i := range cur.Accounts {
		for _, a := range cur.Accounts[i].Alerts {
			alerts = append(alerts, alert{a, cur.Accounts[i].Account})
		}
	}
	slices.SortFunc(alerts, func(a, b alert) int { return cmp.Compare(b.At, a.At) })
	for _, a := range alerts[:min(len(alerts), alertsOnTop)] {
		lines = append(lines, v.text("! alerte %s %s %s %s %s", "! alert %s %s %s %s %s", a.At, a.account, a.Device, a.Reason, a.AlertID))
	}
	sites := make([]string, 0, len(cur.Unrouted))
	for site := range cur.Unrouted {
		sites = append(sites, site)
	}
	slices.Sort(sites)
	for _, site := range sites {
		lines = append(lines, "! "+v.lang.of(unroutedText(site, cur.Unrouted[site])))
	}
	for _, line := range lostLines(v.lang, cur.Lost) {
		lines = append(lines, "! "+line)
	}
	switch {
	case !v.live:
	case v.typing:
		lines = append(lines, v.text("filtre : %s_", "filter: %s_", v.filter))
	default:
		lines = append(lines, v.text("q quitter  / filtrer [%s]  s trier [%s]", "q quit  / filter [%s]  s sort [%s]", v.filter, topSorts[v.sort].name))
	}
	return lines
}
