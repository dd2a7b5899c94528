package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"decom/queue"
	"decom/queue/doors/consolidated"
	"decom/worker/scan"
)

// fileJSON is a file in --json. Fields are added, never renamed.
type fileJSON struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Format     string   `json:"format"`
	Site       string   `json:"site"`
	Device     string   `json:"device"`
	Sender     string   `json:"sender"`
	Added      string   `json:"added"`
	Declared   int      `json:"declared"`
	Rows       int      `json:"rows"`
	Refused    int      `json:"refused"`
	Containers int      `json:"containers"`
	Deliveries []string `json:"deliveries"`
	Receipts   int      `json:"receipts"`
	Dropped    bool     `json:"dropped"`
}

func newFileJSON(f *consolidated.File) fileJSON {
	return fileJSON{
		ID: f.ID, Name: f.Name, Format: f.Format, Site: f.Site, Device: f.Device, Sender: f.Sender, Added: scan.Time(f.AddedAt()),
		Declared: f.Rows + f.Refused, Rows: f.Rows, Refused: f.Refused, Containers: f.Containers,
		Deliveries: append([]string{}, f.Deliveries...), Receipts: len(f.Receipts()), Dropped: f.Dropped(),
	}
}

type addedJSON struct {
	fileJSON
	Again       bool                   `json:"again"`
	RefusedRows []consolidated.Refusal `json:"refused_rows"`
}

type receivedJSON struct {
	fileJSON
	Ref     string         `json:"ref"`
	Already bool           `json:"already"`
	States  map[string]int `json:"states"`
}

type shownJSON struct {
	fileJSON
	States      map[string]int           `json:"states"`
	RefusedRows []consolidated.Refusal   `json:"refused_rows"`
	Boxes       []consolidated.Container `json:"boxes"`
	Undated     []consolidated.Date      `json:"undated"`
	Events      []eventJSON              `json:"events"`
}

type eventJSON struct {
	At   string `json:"at"`
	Kind string `json:"kind"`
	Ref  string `json:"ref,omitempty"`
	Who  string `json:"who,omitempty"`
	Why  string `json:"why,omitempty"`
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// fateWords names where a row stands: the word in JSON, and a sentence.
var fateWords = []struct {
	fate consolidated.Fate
	word string
	text scan.Text
}{
	{consolidated.Released, "released", scan.Text{FR: "publiées", EN: "published"}},
	{consolidated.Waiting, "waiting", scan.Text{FR: "pas encore reçues", EN: "not received yet"}},
	{consolidated.HeldExpiry, "held_expiry", scan.Text{FR: "reçues, retenues : scannez une boîte de chaque lot (decom consolidated sample), la date du fichier ne dit pas si le jour est 00", EN: "received, held: scan a pack of each batch (decom consolidated sample), the file's date does not say whether the day is 00"}},
	{consolidated.HeldSample, "held_sample", scan.Text{FR: "reçues, retenues : le contrôle par échantillon n'est pas fait ou a trouvé une boîte non listée", EN: "received, held: the sample check is not done, or found a pack that is not listed"}},
	{consolidated.Opened, "opened", scan.Text{FR: "d'un contenant ouvert : à scanner une à une", EN: "of an opened container: to be scanned one by one"}},
	{consolidated.Missing, "missing", scan.Text{FR: "manquantes au comptage", EN: "missing when counted"}},
	{consolidated.Wrong, "wrong", scan.Text{FR: "dont le lot ou la date diffère du fichier : à scanner une à une", EN: "whose batch or expiry is not the file's: to be scanned one by one"}},
	{consolidated.NotShipped, "not_shipped", scan.Text{FR: "listées mais pas expédiées", EN: "listed and not shipped"}},
	{consolidated.Gone, "dropped", scan.Text{FR: "écartées avec le fichier", EN: "dropped with the file"}},
}

func states(s *consolidated.Settled) map[string]int {
	m, n := map[string]int{}, s.Count()
	for _, w := range fateWords {
		if n[w.fate] > 0 {
			m[w.word] = n[w.fate]
		}
	}
	return m
}

func (a *app) printStates(s *consolidated.Settled) {
	n := s.Count()
	for _, w := range fateWords {
		if n[w.fate] > 0 {
			a.sayf("  %7d %s", "  %7d %s", n[w.fate], a.lang.of(w.text))
		}
	}
	for i, d := range s.Undated() {
		if i == 20 {
			a.sayf("    ...", "    ...")
			break
		}
		a.sayf("    à scanner : GTIN %s, lot %s, date du fichier %s", "    to scan: GTIN %s, batch %s, file's date %s", d.Code, d.Batch, d.Full)
	}
}

func newConsolidatedLs(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls",
		Short: a.text("Les fichiers, le plus ancien d'abord", "The files, oldest first"),
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			g, err := a.openGoods(c.Context(), false)
			if err != nil {
				return err
			}
			defer g.close()
			files, err := g.Files(c.Context())
			if err != nil {
				return err
			}
			return a.printFiles(files, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return c
}

func (a *app) printFiles(files []*consolidated.File, asJSON bool) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(w, a.text("FICHIER\tAJOUTÉ\tEXPÉDITEUR\tSITE\tDÉCLARÉES\tREFUSÉES\tRÉCEPTIONS\tNOM", "FILE\tADDED\tSENDER\tSITE\tDECLARED\tREFUSED\tRECEIPTS\tNAME"))
	}
	for _, f := range files {
		if asJSON {
			if err := a.printJSON(newFileJSON(f)); err != nil {
				return err
			}
			continue
		}
		name := f.Name
		if f.Dropped() {
			name += a.text(" (écarté)", " (dropped)")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", f.ID[:8], day(f.AddedAt()), f.Sender, f.Site, f.Rows+f.Refused, f.Refused, len(f.Receipts()), name)
	}
	return w.Flush()
}

// withFile opens one file for a sub-command and closes what it opened.
func (a *app) withFile(ctx context.Context, id string, do func(*goods, *consolidated.File) error) error {
	g, err := a.openGoods(ctx, false)
	if err != nil {
		return err
	}
	defer g.close()
	f, err := g.File(ctx, id)
	if err == nil {
		err = do(g, f)
	}
	return a.inLanguage(err)
}

func newConsolidatedShow(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show ID",
		Short: a.text("Un fichier : où en sont ses lignes, ce qui lui est arrivé", "One file: where its rows stand, what happened to it"),
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withFile(c.Context(), args[0], func(g *goods, f *consolidated.File) error {
				s, err := g.Settle(c.Context(), f)
				if err != nil {
					return err
				}
				return a.showFile(s, asJSON)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object, every refused row and container in it")
	return c
}

func (a *app) showFile(s *consolidated.Settled, asJSON bool) error {
	if asJSON {
		out := shownJSON{fileJSON: newFileJSON(s.File), States: states(s), RefusedRows: s.List.Refused, Boxes: s.List.Containers, Undated: s.Undated()}
		for _, e := range s.Events {
			out.Events = append(out.Events, eventJSON{scan.Time(e.Time), e.Kind, e.Ref, e.Who, e.Why})
		}
		return a.printJSON(out)
	}
	a.sayf("%s  %s  %s, de %s, pour %s/%s", "%s  %s  %s, from %s, for %s/%s", s.ID, s.Name, s.Format, s.Sender, s.Site, s.Device)
	a.sayf("%d boîtes déclarées, %d lignes refusées, %d contenants, livraisons : %s", "%d packs declared, %d rows refused, %d containers, deliveries: %s",
		s.List.Declared(), len(s.List.Refused), len(s.List.Containers), cmp.Or(strings.Join(s.Deliveries, ", "), "-"))
	a.printStates(s)
	a.printRefused(s.List.Refused)
	for _, e := range s.Events {
		fmt.Fprintf(a.stdout, "  %s  %s  %s  %s  %s\n", day(e.Time), e.Kind, e.Ref, e.Who, e.Why)
	}
	return nil
}

func newConsolidatedReport(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "report ID",
		Short: a.text("Le bordereau : déclaré, reçu, scanné", "The sheet: declared, received, scanned"),
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withFile(c.Context(), args[0], func(g *goods, f *consolidated.File) error {
				s, err := g.Settle(c.Context(), f)
				if err != nil {
					return err
				}
				sheet, err := s.Sheet(c.Context(), g.conn)
				if err != nil {
					return err
				}
				return a.printSheet(s, sheet, asJSON)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

// printSheet prints the sheet; one that does not add up is exit code 99.
func (a *app) printSheet(s *consolidated.Settled, t *consolidated.Sheet, asJSON bool) error {
	if asJSON {
		if err := a.printJSON(struct {
			fileJSON
			*consolidated.Sheet
			RefusedRows []consolidated.Refusal `json:"refused_rows"`
			AddsUp      bool                   `json:"adds_up"`
		}{newFileJSON(s.File), t, s.List.Refused, t.AddsUp()}); err != nil {
			return err
		}
	} else {
		a.sheetLines(s, t)
	}
	if !t.AddsUp() {
		return exitWith(exitThreshold, errors.New(a.text("le bordereau ne tombe pas juste : prévenez l'exploitant de decom", "the sheet does not add up: tell whoever runs decom")))
	}
	return nil
}

func (a *app) sheetLines(s *consolidated.Settled, t *consolidated.Sheet) {
	a.sayf("Bordereau de %s (%s)", "Sheet of %s (%s)", s.ID, s.Name)
	a.sayf("Déclarées           %7d", "Declared            %7d", t.Declared)
	a.sayf("  lignes refusées   %7d", "  rows refused      %7d", t.RefusedSum())
	for _, r := range slices.Sorted(maps.Keys(t.Refused)) {
		a.sayf("    %-14s  %7d  %s", "    %-14s  %7d  %s", string(r), t.Refused[r], a.lang.of(consolidated.Text(r)))
	}
	n := s.Count()
	for _, w := range fateWords {
		if n[w.fate] > 0 {
			a.sayf("  %-16s  %7d  %s", "  %-16s  %7d  %s", w.word, n[w.fate], a.lang.of(w.text))
		}
	}
	a.sayf("Publiées            %7d", "Published           %7d", t.Released)
	for _, r := range slices.Sorted(maps.Keys(t.Scanned)) {
		a.sayf("  %-16s  %7d", "  %-16s  %7d", string(r), t.Scanned[r])
	}
	for _, r := range slices.Sorted(maps.Keys(t.Reasons)) {
		a.sayf("    %-14s  %7d", "    %-14s  %7d", r, t.Reasons[r])
	}
	a.sayf("  sans résultat     %7d", "  no outcome yet    %7d", t.Pending)
	for _, r := range slices.Sorted(maps.Keys(t.Alone)) {
		a.sayf("Scannées à part : %-9s %d", "Scanned by themselves: %-9s %d", string(r), t.Alone[r])
	}
	a.sayf("En trop             %7d", "Too many            %7d", len(t.TooMany))
	for _, x := range t.TooMany {
		fmt.Fprintf(a.stdout, "  %s %s %s %s  %s\n", x.Code, x.Serial, x.Batch, x.Expiry, x.Reason)
	}
	a.printRefused(s.List.Refused)
	if t.AddsUp() {
		a.sayf("Le bordereau tombe juste.", "The sheet adds up.")
	}
}

var _ consolidated.Outcomes = (*queue.Conn)(nil)
