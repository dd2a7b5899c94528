package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"decom/worker/scan"
)

// Text writes the report for people.
func (d *DayReport) Text(to io.Writer, w Words) error {
	p := &page{w: tabwriter.NewWriter(to, 0, 8, 2, ' ', 0), words: w}
	d.head(p)
	for i := range d.Sites {
		d.Sites[i].text(p, d)
	}
	d.waiting(p)
	d.actions(p)
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}

// page keeps the first error, so that lines can be written without asking each time.
type page struct {
	w     *tabwriter.Writer
	words Words
	err   error
}

func (p *page) line(fr, en string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, p.words.of(fr, en)+"\n", args...)
	}
}

// gap ends a table: columns of the next one are its own.
func (p *page) gap() {
	if p.err == nil {
		p.err = p.w.Flush()
	}
	p.line("", "")
}

func (d *DayReport) head(p *page) {
	state := p.words.of("journée close", "the day is over")
	if !d.Complete {
		state = p.words.of("JOURNÉE EN COURS : d'autres lectures peuvent s'ajouter", "THE DAY IS NOT OVER: more scans may come")
	}
	p.line("Rapport du %s : compte %s", "Report of %s: account %s", longDate(p.words, d.day.From), d.Account)
	if text := d.PUI.text(p.words); text != "" {
		p.line("%s", "%s", text)
	}
	p.line("%s, %d heures ; %s", "%s, %d hours; %s", d.Zone, d.Hours, state)
	switch {
	case d.Ledger.Head == 0:
	case d.Ledger.First == 0:
		p.line("registre : aucun enregistrement de ce jour ; le dernier avant est le %d (%.12s)", "ledger: no record of this day; the last one before is %d (%.12s)", d.Ledger.Head, d.Ledger.HeadHash)
	default:
		p.line("registre : enregistrements %d à %d (%.12s)", "ledger: records %d to %d (%.12s)", d.Ledger.First, d.Ledger.Last, d.Ledger.HeadHash)
	}
	for _, n := range d.Notes {
		p.line("! %s", "! %s", p.words(n.Message))
	}
}

func (u *PUI) text(w Words) string {
	var parts []string
	for _, it := range [][2]string{{"FINESS", u.FINESS}, {w.of("région", "region"), u.Region}, {w.of("statut", "status"), u.Status}} {
		if it[1] != "" {
			parts = append(parts, it[0]+" "+it[1])
		}
	}
	return strings.Join(parts, ", ")
}

func (s *SiteReport) text(p *page, d *DayReport) {
	p.gap()
	if s.Site == "" {
		p.line("Site inconnu (aucune lecture connue de ces boîtes)", "Site not known (no scan of these packs is known)")
	} else {
		p.line("Site %s", "Site %s", s.Site)
	}
	if s.Scans == 0 {
		p.line("  aucune lecture n'a eu de résultat ce jour-là", "  no scan got an outcome on this day")
	} else {
		p.line("  lectures avec résultat\t%d\tlues %d, saisies à la main %d, clavier réparé %d", "  scans with an outcome\t%d\tscanned %d, typed by hand %d, keyboard repaired %d", s.Scans, s.Scanned, s.Manual, s.Repaired)
		for _, r := range results {
			row := fmt.Sprintf("  - %s\t%d", p.words(resultWords[r]), s.Results[r])
			if why := join(counted(s.operations(r)), counted(s.Reasons[r])); why != "" {
				row += "\t" + why
			}
			p.line("%s", "%s", row)
		}
	}
	var ends []string
	for _, e := range dayEnds {
		if n := s.End[e]; n > 0 {
			ends = append(ends, fmt.Sprintf("%s %d", p.words(endWords[e]), n))
		}
	}
	if len(ends) == 0 {
		p.line("  boîtes non réglées en fin de journée\t0", "  packs not settled at the end of the day\t0")
	} else {
		p.line("  boîtes non réglées en fin de journée\t%s", "  packs not settled at the end of the day\t%s", strings.Join(ends, "; "))
	}
	s.table(p, p.words.of("appareil", "device"), s.Devices, func(r Row) string { return r.Device })
	s.table(p, p.words.of("heure", "hour"), s.Hours, func(r Row) string { return d.hourText(r.Hour) })
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}

// operations are those of what was done; other results have none worth a line.
func (t *Totals) operations(r scan.Result) map[string]int {
	if r != scan.Done {
		return nil
	}
	return t.Done
}

// counted lists words with their numbers, the largest first.
func counted[K ~string](m map[K]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b K) int { return cmp.Or(m[b]-m[a], strings.Compare(string(a), string(b))) })
	var b strings.Builder
	for _, k := range keys {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", k, m[k])
	}
	return b.String()
}

// hourText is the hour on a clock of the zone, with its offset on days when clocks change.
func (d *DayReport) hourText(stamp string) string {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return stamp
	}
	if d.Hours == 24 {
		return t.Format("15:04")
	}
	return t.Format("15:04 -07:00")
}

func (s *SiteReport) table(p *page, first string, rows []Row, name func(Row) string) {
	if len(rows) == 0 {
		return
	}
	p.gap()
	head := []string{first, p.words.of("lectures", "scans")}
	for _, r := range results {
		head = append(head, p.words(resultWords[r]))
	}
	head = append(head, p.words.of("à la main", "by hand"))
	p.line("  %s", "  %s", strings.Join(head, "\t"))
	for _, row := range rows {
		cells := []string{name(row), fmt.Sprint(row.Scans)}
		for _, r := range results {
			cells = append(cells, fmt.Sprint(row.Results[r]))
		}
		p.line("  %s\t%d", "  %s\t%d", strings.Join(cells, "\t"), row.Manual)
	}
}

func (d *DayReport) waiting(p *page) {
	p.gap()
	if len(d.Waiting) == 0 {
		p.line("Rien n'attendait personne en fin de journée.", "Nothing waited for a person at the end of the day.")
		return
	}
	p.line("Ce qui attendait une personne en fin de journée :", "What waited for a person at the end of the day:")
	p.line("  depuis\tboîte\tproduit\tlot\topération\trésultat\tmotif\talerte\torigine", "  since\tpack\tproduct\tbatch\toperation\tresult\treason\talert\tsource")
	for i := range d.Waiting {
		w := &d.Waiting[i]
		product := w.Product
		if w.Serial != "" {
			product += " " + w.Serial
		}
		p.line("  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", "  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", w.Since, w.Pack, dash(product), dash(w.Batch), dash(w.Op),
			dash(string(w.Result)), dash(string(w.Reason)), dash(w.AlertID), dash(w.Source))
	}
	p.line("  « decom explain MOTIF » dit quoi faire, « decom review ls » ce qui attend maintenant", "  \"decom explain REASON\" says what to do, \"decom review ls\" what waits now")
}

func (d *DayReport) actions(p *page) {
	if len(d.Actions) == 0 {
		return
	}
	p.gap()
	p.line("Décisions et arrêts du jour (tout le compte) :", "Decisions and halts of the day (whole account):")
	for _, a := range d.Actions {
		what := p.words(actionWords[a.What])
		if a.To != "" {
			what += " " + a.To
		}
		p.line("  %s\t%s\t%s\t%s", "  %s\t%s\t%s\t%s", a.At, what, dash(a.Who), dash(a.Why))
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
