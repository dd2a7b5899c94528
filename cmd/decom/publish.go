package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"decom/queue/doors/files"
	"decom/worker"
	"decom/worker/scan"
)

// publishFlags are the flags of decom publish.
type publishFlags struct {
	site, device string
	op, entry    string
	at           string
	csv          bool
	dryRun       bool
	json         bool
}

const publishLongFR = `Lit des lectures, une par ligne, de FILE ou de l'entrée standard, et les enregistre dans la file.

Une ligne qui commence par { est un évènement JSON, par " une chaîne JSON qui contient le texte du code ; un
fichier .csv (ou --csv) est un tableau dont la première ligne nomme les colonnes : scan, ou gtin, serial,
batch et expiry (AAMMJJ), et en plus op, entry, ref, operator, id, at, site, device (les noms français
valent aussi) ; toute autre ligne est le texte brut d'un code. Un tableau qui a les colonnes site et device
se passe de --site et de --device. Une ligne vide n'est pas une lecture.

Une ligne n'est dite enregistrée qu'après la confirmation du flux. Une ligne qui n'est pas un évènement est
signalée et n'arrête pas les autres ; le code de sortie est alors 1. Les lectures illisibles sont
enregistrées, elles aussi : leur résultat dit pourquoi elles sont rejetées.

Les lignes sans « at » ni « id » reçoivent les deux. Les lignes d'un fichier comptent comme scannées à la
dernière écriture du fichier : republier le fichier inchangé redonne les mêmes id ; le flux peut les
enregistrer de nouveau, le worker les connaît, rien n'est envoyé et il n'y a pas de second résultat. Les
lignes d'un tube, et ce qui interroge ou annule (verify, undo_*), comptent comme scannées maintenant.
--at HEURE donne l'heure de la première ligne.

--dry-run finit par 0 quoi que disent les lignes : une lecture rejetée est une réponse, comme pour la file.
Un script regarde "ok" de --json.`

const publishLong = `Read scans from FILE or standard input, a line each, and store them in the queue.

A line that starts with { is a JSON scan event, with " a JSON string that holds
the text of the data carrier; a .csv file (or --csv) is a table whose first line
names its columns: scan, or gtin, serial, batch and expiry (YYMMDD), and besides
op, entry, ref, operator, id, at, site, device (French names do, too); any other
line is the raw text of a data carrier. A table with the columns site and device
needs no --site and no --device. A blank line is no scan.

A line is reported stored only after the stream's acknowledgement. A line that is
no event is reported and does not stop the others; the exit code is then 1. Scans
that cannot be read are stored, too: their outcome says why they are rejected.

Lines without "at" and "id" get both. The lines of a file count as scanned when
the file was last written, so that publishing the unchanged file again gives the
same ids: the stream may store them again, the worker knows them, nothing is sent
and there is no second outcome. Lines from a pipe, and what asks or takes back
(verify, undo_*), count as scanned now. --at TIME sets the time of the first line.

--dry-run ends with 0 whatever the lines say: a rejected scan is an answer, as it is for
the queue. A script looks at "ok" of --json.`

func newPublishCommand(a *app) *cobra.Command {
	var f publishFlags
	c := &cobra.Command{
		Use:   "publish [FILE]",
		Short: a.text("Enregistrer dans la file les scans d'un fichier ou de l'entrée standard", "Store scans from a file or standard input in the queue"),
		Long:  a.text(publishLongFR, publishLong),
		Args:  cobra.MaximumNArgs(1),
		RunE:  func(c *cobra.Command, args []string) error { return a.publish(c.Context(), f, args) },
	}
	c.Flags().StringVar(&f.site, "site", "", "site that the scans come from")
	c.Flags().StringVar(&f.device, "device", "", "device that the scans come from")
	c.Flags().StringVar(&f.op, "op", "", "operation of lines that name none (default supply)")
	c.Flags().StringVar(&f.entry, "entry", "", "scanned or manual, for lines that do not say (default scanned)")
	c.Flags().StringVar(&f.at, "at", "", "time of the first line, RFC 3339, for lines without one")
	c.Flags().BoolVar(&f.csv, "csv", false, "the input is CSV, whatever its name")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "only tell how each line reads; needs no server")
	c.Flags().BoolVar(&f.json, "json", false, "report a JSON object a line")
	return c
}

func (a *app) publish(ctx context.Context, f publishFlags, args []string) error {
	d, err := f.defaults()
	if err != nil {
		return err
	}
	name := "-"
	if len(args) > 0 {
		name = args[0]
	}
	if !f.table(name) {
		if err := f.checkSource(nil); err != nil {
			return err
		}
	}
	in, closeInput, err := a.openInput(name, f, &d)
	if err != nil {
		return err
	}
	defer closeInput()
	if c, ok := in.(*files.CSV); ok {
		if err := f.checkSource(c); err != nil {
			return err
		}
	}
	if f.dryRun {
		return a.publishDry(in, &d, f.json)
	}
	// A configuration that does not hold, or a server that is down, is told
	// before the first line is read.
	c, err := a.loadConfig(needQueue)
	if err != nil {
		return err
	}
	send, closeQueue, err := a.openSender(ctx, c)
	if err != nil {
		return err
	}
	defer closeQueue()
	if d.Clock.Live { // reading may wait for a device
		pipe := newPipeInput(ctx, in)
		defer pipe.close()
		in = pipe
	}
	p := publisher{app: a, json: f.json, send: send}
	return p.run(ctx, in, &d)
}

// defaults checks the flags.
func (f *publishFlags) defaults() (files.Defaults, error) {
	d := files.Defaults{Site: f.site, Device: f.device, Op: f.op, Entry: f.entry, Import: readImport}
	for _, it := range []struct{ flag, value string }{{"--site", f.site}, {"--device", f.device}} {
		if it.value != "" && !scan.ValidToken(it.value) {
			return d, badToken(it.flag, it.value)
		}
	}
	if _, err := scan.ParseOp(f.op); err != nil {
		return d, spokenUsagef("--op %s : il y a %s", "--op %s: there are %s", f.op, opList())
	}
	if f.entry != "" && f.entry != string(scan.Scanned) && f.entry != string(scan.Manual) {
		return d, spokenUsagef("--entry %s : il y a scanned et manual", "--entry %s: there are scanned and manual", f.entry)
	}
	if f.at != "" {
		at, err := time.Parse(time.RFC3339Nano, f.at)
		if err != nil || at.After(time.Now()) {
			return d, spokenUsagef("--at %s : donner un moment passé, comme 2026-11-22T10:15:30Z", "--at %s: wants a past time as 2026-11-22T10:15:30Z", f.at)
		}
		d.Clock.Base = at
	}
	return d, nil
}

// table says whether the input is CSV.
func (f *publishFlags) table(name string) bool {
	return f.csv || strings.HasSuffix(strings.ToLower(name), ".csv")
}

// checkSource complains about a flag that is missing: somebody has to say where the scans come
// from, the flags or columns of the table (nil: there is none). A row that does not say it is that
// row's fault.
func (f *publishFlags) checkSource(table *files.CSV) error {
	for _, it := range []struct{ name, value string }{{"site", f.site}, {"device", f.device}} {
		switch {
		case it.value != "" || f.dryRun || table.Has(it.name):
		case table != nil:
			return spokenUsagef("--%s manque, et le tableau n'a pas de colonne %[1]s : il faut l'un ou l'autre, pour savoir d'où viennent les lectures",
				"--%s is missing, and the table has no column %[1]s: one of them has to say where the scans come from", it.name)
		default:
			return spokenUsagef("--%s manque : il dit d'où viennent les lectures", "--%s is missing: it says where the scans come from", it.name)
		}
	}
	return nil
}

func opList() string {
	names := []string{}
	for _, op := range scan.Ops() {
		names = append(names, op.String())
	}
	return strings.Join(names, ", ")
}

// openInput opens FILE ("-" is standard input) and settles the lines' clock.
func (a *app) openInput(name string, f publishFlags, d *files.Defaults) (files.Input, func(), error) {
	r, closeInput := a.stdin, func() {}
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, nil, spokenFileError(err)
		}
		r, closeInput = file, func() { _ = file.Close() } // only read
	}
	file, _ := r.(*os.File)
	var err error
	if d.Clock, err = files.NewClock(d.Clock.Base, file); err != nil {
		closeInput()
		return nil, nil, spokenf("lecture de %s : %w", "read %s: %w", name, err)
	}
	if f.table(name) {
		c, err := files.NewCSV(r, files.CSVOptions{})
		if err != nil {
			closeInput()
			if u, ok := errors.AsType[*files.Unreadable](err); ok {
				err = &spoken{fr: errors.New(u.Text.FR), en: u}
			}
			return nil, nil, err
		}
		return c, closeInput, nil
	}
	return files.NewLines(r), closeInput, nil
}

// dryLine is what --dry-run --json prints for a line (contract.md section 1).
type dryLine struct {
	Line     int        `json:"line"`
	OK       bool       `json:"ok"`
	Pack     *scan.Pack `json:"pack,omitempty"`
	Repaired *bool      `json:"repaired,omitempty"`
	Result   string     `json:"result,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Offset   *int       `json:"offset,omitempty"`
	Message  *scan.Text `json:"message,omitempty"`

	detail string // for people
}

// publishDry tells how each line reads. A rejected line is an answer, not a
// failure: the exit code stays 0.
func (a *app) publishDry(in files.Input, d *files.Defaults, asJSON bool) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return spokenf("lecture de l'entrée : %w", "read the input: %w", err)
		}
		if e.Empty && !asJSON {
			continue // publish passes it over, too; a JSON object a line is promised (contract.md section 1)
		}
		out := dryRead(e, d, time.Now())
		if asJSON {
			err = enc.Encode(out)
		} else {
			_, err = fmt.Fprintln(a.stdout, out.human(a.lang))
		}
		if err != nil {
			return err
		}
	}
}

// dryRead reads one line as the worker will.
func dryRead(e files.Entry, d *files.Defaults, now time.Time) dryLine {
	ev, err := d.Complete(e)
	if m, ok := errors.AsType[*scan.Malformed](err); ok {
		return rejectedLine(e.Line, ev.Decoded.Op, &worker.Rejection{Reason: scan.MalformedScan}, m.Error())
	}
	if err != nil {
		return rejectedLine(e.Line, ev.Decoded.Op, &worker.Rejection{Reason: scan.MalformedScan}, err.Error())
	}
	r, rejection := worker.Read(ev.Decoded, now)
	if rejection != nil && files.ImportForm(e.Text) {
		_, rejection = worker.ReadImport(e.Text, now) // its reason is the one that helps
	}
	if rejection != nil {
		return rejectedLine(e.Line, ev.Decoded.Op, rejection, "")
	}
	return dryLine{Line: e.Line, OK: true, Pack: &r.Pack, Repaired: new(r.Repaired)}
}

func rejectedLine(line int, op scan.Op, r *worker.Rejection, detail string) dryLine {
	text := scan.Message(op, scan.Rejected, r.Reason)
	for _, part := range []string{r.Field, r.Layout} {
		if part != "" {
			detail = part
		}
	}
	return dryLine{
		Line: line, Result: string(scan.Rejected), Reason: string(r.Reason), Offset: new(r.Offset), Message: &text, detail: detail,
	}
}

// human is the line for people; who looks at a dry run needs the serial.
func (l dryLine) human(lang language) string {
	if !l.OK {
		s := fmt.Sprintf("%6d  %s  %s @%d  %s", l.Line, l.Result, l.Reason, *l.Offset, lang.of(*l.Message))
		if l.detail != "" {
			s += " (" + l.detail + ")"
		}
		return s
	}
	s := fmt.Sprintf("%6d  ok  %s %s  %s  %s  %s", l.Line, l.Pack.Scheme(), l.Pack.Code(), l.Pack.Serial(), l.Pack.Batch(), l.Pack.Expiry())
	if *l.Repaired {
		s += lang.of(scan.Text{FR: "  (clavier réparé)", EN: "  (keyboard repaired)"})
	}
	return s
}
