package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"decom/queue"
	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/scan"
)

func newLedgerExport(a *app) *cobra.Command {
	var account, format, since string
	serials := false
	c := &cobra.Command{
		Use:   "export",
		Short: a.text("Le registre en lignes : une par évènement d'une boîte", "The ledger as lines: one for each event of a pack"),
		Long: a.text(`Écrit sur la sortie standard une ligne par évènement d'une boîte, les plus anciens d'abord : lectures
classées, envois, réponses, décisions de personnes. Les numéros de série n'y sont que sous --serials ;
le nom de la colonne « pack » est le même pour la même boîte. Un tableur abîme un CSV qu'il ouvre (zéros
de tête perdus, 3,4E+12) : lui donner xlsx, où chaque cellule est du texte.`,
			`Writes one line for each event of a pack to standard output, oldest first: scans disposed of,
attempts, answers, what people decided. Serial numbers are left out unless --serials is given;
the name in column "pack" is the same for the same pack. A spreadsheet damages a CSV that it opens
(leading zeros lost, 3.4E+12): give it xlsx, where every cell is text.`),
		Example: `  decom ledger export --format xlsx --since 2026-11-01 > ledger.xlsx`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.ledgerExport(c.Context(), account, format, since, serials)
		},
	}
	c.Flags().StringVar(&account, "account", "", "only this account")
	c.Flags().StringVar(&format, "format", "jsonl", "`jsonl|csv|xlsx`")
	c.Flags().StringVar(&since, "since", "", "only records stored at that `time` or later: RFC 3339, or a date")
	c.Flags().BoolVar(&serials, "serials", false, "write serial numbers")
	return c
}

func (a *app) ledgerExport(ctx context.Context, only, format, since string, serials bool) error {
	from, err := parseSince(since)
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(a.stdout)
	var write func(*exportLine) error
	var end func(failed error) error
	switch format {
	case "jsonl":
		write, end = jsonLines(buf)
	case "csv":
		write, end = csvLines(buf)
	case "xlsx":
		if isTerminal(a.stdout) {
			return a.usagef("un fichier xlsx n'est pas du texte : le diriger vers un fichier, > registre.xlsx", "an xlsx file is no text: direct it into a file, > ledger.xlsx")
		}
		write, end = xlsxLines(buf, sheetRows)
	default:
		return a.usagef("--format %q : il y a jsonl, csv et xlsx", "--format %q: there are jsonl, csv and xlsx", format)
	}
	if err := end(a.exportLines(ctx, only, from, serials, write)); err != nil {
		return err
	}
	return buf.Flush()
}

// exportLines gives write every line of the accounts meant, in order.
func (a *app) exportLines(ctx context.Context, only string, from time.Time, serials bool, write func(*exportLine) error) error {
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	accounts, err := d.accounts(only)
	if err != nil {
		return err
	}
	for _, account := range accounts {
		x := exporter{names: map[scan.PackID]scan.Pack{}, book: ledger.NewBook(), serials: serials}
		_, err := worker.WalkLedger(ctx, d.conn.Ledger(account), account, func(e queue.Entry, r *ledger.Record) error {
			lines := x.record(e.Seq, r)
			if e.Time.Before(from) {
				return nil // read all the same: later lines need the packs' names
			}
			for i := range lines {
				if err := write(&lines[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("ledger of %s: %w", account, err)
		}
	}
	return nil
}

func parseSince(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, s, time.Local)
	if err != nil {
		return t, spokenUsagef("--since %[1]q : donner un moment comme 2026-11-22T10:15:30Z ou 2026-11-22", "--since %q: must be like 2026-11-22T10:15:30Z or 2026-11-22", s)
	}
	return t, nil
}

// exportLine is one event of one pack. Fields are added, never renamed; the CSV's
// columns are exportColumns.
type exportLine struct {
	packEvent
	Pack    scan.PackID `json:"pack,omitempty"`
	Scheme  scan.Scheme `json:"scheme,omitempty"`
	Product string      `json:"product,omitempty"`
	Serial  string      `json:"serial,omitempty"`
	Batch   string      `json:"batch,omitempty"`
	Expiry  string      `json:"expiry,omitempty"`
	To      string      `json:"to,omitempty"` // review: the state that a person stated
}

// exporter turns an account's records into lines. Records must come in order.
type exporter struct {
	names   map[scan.PackID]scan.Pack // of every pack that was opened or noted
	book    *ledger.Book              // attempts with packs open, to name those of a fact about a whole attempt
	serials bool
}

func (x *exporter) record(seq uint64, r *ledger.Record) []exportLine {
	var out []exportLine
	add := func(k scan.PackID, e packEvent) *exportLine {
		e.Seq, e.At, e.By, e.Account = seq, r.At, r.By, r.Account
		p := x.names[k]
		l := exportLine{packEvent: e, Pack: k, Scheme: p.Scheme(), Product: p.Code(), Batch: p.Batch(), Expiry: p.Expiry()}
		if x.serials {
			l.Serial = p.Serial()
		}
		out = append(out, l)
		return &out[len(out)-1]
	}
	for i := range r.Note {
		n := &r.Note[i]
		if n.Pack != nil && n.K != "" {
			x.names[n.K] = *n.Pack
		}
		add(n.K, packEvent{What: "note", Op: n.Op.String(), Event: n.Ev, Source: n.Src, Trx: n.Trx, Answer: &n.Answer})
	}
	for i := range r.Open {
		o := &r.Open[i]
		for j := range o.Packs {
			p, err := o.Pack(j)
			if err != nil {
				continue // verify tells of it
			}
			x.names[p.ID()] = p
			add(p.ID(), packEvent{What: "open", Op: o.Packs[j].Op.String(), Event: o.Packs[j].Ev, Source: o.Packs[j].Src, Trx: o.Trx(j), Service: o.Svc})
		}
	}
	for i := range r.Fact {
		f := &r.Fact[i]
		e := packEvent{What: string(f.Kind), Trx: f.C, Who: f.Who, Why: f.Why}
		at := x.book.Attempt(f.C)
		if at != nil && at.Of == f.Of {
			e.Service = at.Svc
		} else {
			at = nil
		}
		if len(f.Packs) == 0 {
			x.whole(at, e, add)
			continue
		}
		for j := range f.Packs {
			p := &f.Packs[j]
			pe := e
			pe.Answer = p.Answer
			if at != nil && p.I >= 0 && p.I < len(at.Packs) {
				pe.Op, pe.Event, pe.Source, pe.Trx = at.Packs[p.I].Op.String(), at.Packs[p.I].Ev, at.Packs[p.I].Src, at.Trx(p.I)
			}
			l := add(p.K, pe)
			if f.Kind == ledger.Review {
				l.To = p.To.String()
				if p.Op != 0 {
					l.Op = p.Op.String()
				}
			}
		}
	}
	x.book.Add(seq, r)
	return out
}

// whole writes a fact about an attempt as a whole once for each pack still open, and one
// that is about no pack, such as a halt, once.
func (x *exporter) whole(at *ledger.Attempt, e packEvent, add func(scan.PackID, packEvent) *exportLine) {
	if at == nil {
		add("", e)
		return
	}
	for i, k := range at.IDs {
		if at.IsLeft(i) {
			pe := e
			pe.Op, pe.Event, pe.Source, pe.Trx = at.Packs[i].Op.String(), at.Packs[i].Ev, at.Packs[i].Src, at.Trx(i)
			add(k, pe)
		}
	}
}

// jsonLines and its like return how a line is written, and how the file ends; end gets what
// failed before, and gives it back.
func jsonLines(w io.Writer) (write func(*exportLine) error, end func(failed error) error) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return func(l *exportLine) error { return enc.Encode(l) }, func(failed error) error { return failed }
}

var exportColumns = []string{"seq", "at", "account", "by", "what", "op", "service", "pack", "scheme", "product", "serial", "batch", "expiry",
	"event_id", "source", "client_trx_id", "result", "reason", "code", "state", "state_reasons", "alert_id", "nmvs_trx_id", "nmvs_at", "evidence", "to", "who", "why"}

// cells are the line under exportColumns; foreign is applied to what came from scans and people.
func (l *exportLine) cells(foreign func(string) string) []string {
	a := l.Answer
	if a == nil {
		a = &ledger.Answer{}
	}
	return []string{strconv.FormatUint(l.Seq, 10), l.At, l.Account, l.By, l.What, l.Op, string(l.Service), string(l.Pack), string(l.Scheme),
		l.Product, foreign(l.Serial), foreign(l.Batch), l.Expiry, foreign(l.Event), l.Source, l.Trx, string(a.Result), string(a.Reason), a.Code, a.State,
		strings.Join(a.Reasons, " "), a.AlertID, a.NMVSTrx, a.NMVSAt, a.Evidence, l.To, foreign(l.Who), foreign(l.Why)}
}

func csvLines(w io.Writer) (write func(*exportLine) error, end func(failed error) error) {
	c := csv.NewWriter(w)
	header := false
	head := func() error {
		if header {
			return nil
		}
		header = true
		return c.Write(exportColumns)
	}
	write = func(l *exportLine) error {
		if err := head(); err != nil {
			return err
		}
		return c.Write(l.cells(harmless))
	}
	end = func(failed error) error {
		if failed != nil {
			return failed
		}
		if err := head(); err != nil {
			return err
		}
		c.Flush()
		return c.Error()
	}
	return write, end
}

// harmless keeps a spreadsheet from running text of scans and people as a formula; the
// JSON lines and the workbook have it as it is.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func asIs(s string) string { return s }
