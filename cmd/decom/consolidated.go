package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"decom/queue"
	"decom/queue/doors/consolidated"
	"decom/worker"
	"decom/worker/scan"
)

const consolidatedLongFR = `Prend les fichiers où un fournisseur liste chaque boîte d'une livraison : EPCIS 1.2
(XML), EPCIS 2.0 (JSON-LD) ou CSV (colonnes gtin, serial, batch, expiry, et sscc et
delivery s'il y en a ; les noms français valent aussi).

  add      lit un fichier, juge chaque ligne et le retient ; rien ne part
  receive  dit qu'un contenant (son SSCC) ou une livraison (son bon) est là : ses
           boîtes sont alors publiées comme des lectures ordinaires ; watch le fait
           pour chaque étiquette SSCC qu'un appareil scanne
  sample   note des boîtes scannées à côté de la liste ; avec --of SSCC, toutes
           celles d'un contenant : ce qui manque et ce qui est en trop se voit
  report   déclaré, reçu, scanné : le bordereau

Un fichier est connu par son contenu : l'ajouter de nouveau ne fait rien.`

const consolidatedLong = `Take the files in which suppliers list every pack of a delivery: EPCIS 1.2 (XML),
EPCIS 2.0 (JSON-LD) or CSV (columns gtin, serial, batch, expiry, and sscc and
delivery where there are any).

  add      reads a file, judges every row and holds it; nothing leaves
  receive  says that a container (its SSCC) or a delivery (its note) is here: its
           packs are then published as ordinary scans; watch does it for each SSCC
           label that a device scans
  sample   records packs that were scanned beside the list; with --of SSCC all of
           one container, so that missing ones and ones too many show
  report   declared, received, scanned: the sheet

A file is known by its content: adding it again does nothing.`

func newConsolidatedCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "consolidated",
		Short: a.text("Codes consolidés : fichiers retenus jusqu'à la réception", "Consolidated codes: files held until receipt"),
		Long:  a.text(consolidatedLongFR, consolidatedLong),
		Args:  cobra.ArbitraryArgs,
		RunE:  groupArgs,
	}
	c.AddCommand(newConsolidatedAdd(a), newConsolidatedLs(a), newConsolidatedShow(a), newConsolidatedReceive(a), newConsolidatedWatch(a),
		newConsolidatedSample(a), newConsolidatedOpen(a), newConsolidatedReport(a), newConsolidatedDrop(a))
	return c
}

// goods is what the sub-commands work with.
type goods struct {
	consolidated.Desk
	cfg  *loaded
	conn *queue.Conn
}

// openGoods connects; create makes what add needs.
func (a *app) openGoods(ctx context.Context, create bool) (*goods, error) {
	c, err := a.loadConfig(needQueue)
	if err != nil {
		return nil, err
	}
	conn, err := c.connectQueue(ctx)
	if err != nil {
		return nil, err
	}
	shelf, err := conn.OpenShelf(ctx, create)
	if errors.Is(err, queue.ErrNotSetUp) {
		err = errors.New(a.text("aucun fichier de codes consolidés n'a encore été ajouté : decom consolidated add FICHIER",
			"no file of consolidated codes was added yet: decom consolidated add FILE"))
	}
	if err == nil && c.NATS.URL == "" && len(c.Accounts) > 0 {
		// As for publish: nobody else can have prepared the embedded server's streams.
		_, err = setUp(ctx, conn, &c.Config, false)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &goods{Desk: consolidated.Desk{Shelf: shelf, Scans: conn, Check: checkRow, Rules: c.rules}, cfg: c, conn: conn}, nil
}

func (g *goods) close() { g.conn.Close() }

// checkRow is the worker's own judgement: what is held is what the line would take.
func checkRow(f scan.Fields) (scan.Reason, string) {
	if _, rejection := worker.Read(scan.Event{Fields: &f}, time.Time{}); rejection != nil {
		return rejection.Reason, strings.TrimPrefix(rejection.Field, "pack.")
	}
	return "", ""
}

// inLanguage gives a person's problem in that person's language.
func (a *app) inLanguage(err error) error {
	if p, ok := errors.AsType[*consolidated.Problem](err); ok {
		return errors.New(a.lang.of(p.Text))
	}
	if s, ok := err.(*spoken); ok && a.lang == french { // as it is: a wrap around it has words of its own
		return s.fr
	}
	return err
}

type addFlags struct {
	site, device, sender, delivery, who string
	json                                bool
}

func newConsolidatedAdd(a *app) *cobra.Command {
	var f addFlags
	c := &cobra.Command{
		Use:   "add FILE...",
		Short: a.text("Lire des fichiers et les retenir", "Read files and hold them"),
		Args:  cobra.MinimumNArgs(1),
		RunE:  func(c *cobra.Command, args []string) error { return a.consolidatedAdd(c.Context(), f, args) },
	}
	c.Flags().StringVar(&f.site, "site", "", "site that receives the packs")
	c.Flags().StringVar(&f.device, "device", "consolidated", "device that the scans are told to come from")
	c.Flags().StringVar(&f.sender, "sender", "", "who sent the file: a `name` of consolidated.senders")
	c.Flags().StringVar(&f.delivery, "delivery", "", "delivery `note` of packs for which the file names none")
	c.Flags().StringVar(&f.who, "who", "", "who adds it; kept")
	c.Flags().BoolVar(&f.json, "json", false, "one JSON object a file")
	return c
}

func (a *app) consolidatedAdd(ctx context.Context, f addFlags, files []string) error {
	for _, it := range []struct{ flag, value string }{{"--site", f.site}, {"--device", f.device}, {"--sender", f.sender}} {
		if it.value == "" {
			return a.usagef("%s manque", "%s is missing", it.flag)
		}
		if !scan.ValidToken(it.value) {
			return badToken(it.flag, it.value)
		}
	}
	g, err := a.openGoods(ctx, true)
	if err != nil {
		return err
	}
	defer g.close()
	var failed error
	for _, name := range files {
		if err := a.addOne(ctx, g, f, name); err != nil {
			if ctx.Err() != nil {
				return err
			}
			failed = errors.Join(failed, fmt.Errorf("%s: %w", name, a.inLanguage(err)))
		}
	}
	return failed
}

func (a *app) addOne(ctx context.Context, g *goods, f addFlags, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return spokenFileError(err)
	}
	defer file.Close()
	q := consolidated.Request{Name: filepath.Base(name), Site: f.site, Device: f.device, Sender: f.sender, Delivery: f.delivery, Who: f.who}
	if s := g.cfg.sender(f.sender); s != nil {
		q.Identifiers = s.Identifiers
	}
	held, list, again, err := g.Add(ctx, file, q)
	if err != nil {
		return err
	}
	if f.json {
		return a.printJSON(addedJSON{fileJSON: newFileJSON(held), Again: again, RefusedRows: list.Refused})
	}
	if again {
		a.sayf("%s : déjà là depuis le %s sous %s ; rien n'a été fait", "%s: there already since %s as %s; nothing was done", name, day(held.AddedAt()), held.ID)
		return nil
	}
	a.sayf("%s : %s, %d boîtes déclarées, %d retenues, %d lignes refusées, %d contenants", "%s: %s, %d packs declared, %d held, %d rows refused, %d containers",
		name, held.Format, list.Declared(), len(list.Rows), len(list.Refused), len(list.Containers))
	a.printRefused(list.Refused)
	a.sayf("Retenu sous %s jusqu'à la réception.", "Held as %s until receipt.", held.ID)
	return nil
}

// maxRefusedShown keeps a spoiled file from filling the screen; show --json has all rows.
const maxRefusedShown = 50

func (a *app) printRefused(rows []consolidated.Refusal) {
	for i, r := range rows {
		if i == maxRefusedShown {
			a.sayf("  ... et %d autres (decom consolidated show ID --json)", "  ... and %d more (decom consolidated show ID --json)", len(rows)-i)
			return
		}
		detail := r.Field
		if r.Value != "" {
			detail += " " + r.Value
		}
		if detail != "" {
			detail = " (" + detail + ")"
		}
		a.sayf("  ligne %d : refusée : %s%s %s", "  row %d: refused: %s%s %s", r.N, r.Reason, detail, a.lang.of(consolidated.Text(r.Reason)))
	}
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func newConsolidatedReceive(a *app) *cobra.Command {
	var who, file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "receive SSCC|DELIVERY",
		Short: a.text("Dire qu'un contenant ou une livraison est là : ses boîtes sont publiées", "Say that a container or delivery is here: its packs are published"),
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.inLanguage(a.consolidatedReceive(c.Context(), args[0], who, file, asJSON))
		},
	}
	c.Flags().StringVar(&who, "who", "", "who received it: a `name`, given with every scan")
	c.Flags().StringVar(&file, "file", "", "`id` of the file, where several list it")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

func (a *app) consolidatedReceive(ctx context.Context, text, who, id string, asJSON bool) error {
	if who == "" {
		return a.usagef("--who manque : une réception est signée", "--who is missing: a receipt is signed")
	}
	g, err := a.openGoods(ctx, false)
	if err != nil {
		return err
	}
	defer g.close()
	ref, _ := consolidated.ReadRef(text)
	f, err := a.fileOf(ctx, g, ref, id)
	if err != nil {
		return err
	}
	s, already, err := g.Receive(ctx, f, ref, who)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(receivedJSON{fileJSON: newFileJSON(s.File), Ref: ref, Already: already, States: states(s)})
	}
	if already {
		a.sayf("%s était déjà reçu ; rien de nouveau n'est noté.", "%s had been received before; nothing new is noted.", ref)
	} else {
		a.sayf("%s reçu (fichier %s, %s).", "%s received (file %s, %s).", ref, s.ID, s.Name)
	}
	a.printStates(s)
	return nil
}

// fileOf finds the one file that lists ref.
func (a *app) fileOf(ctx context.Context, g *goods, ref, id string) (*consolidated.File, error) {
	if id != "" {
		return g.File(ctx, id)
	}
	files, err := g.Find(ctx, ref)
	switch {
	case err != nil:
		return nil, err
	case len(files) == 0:
		return nil, errors.New(a.text("aucun fichier ne liste "+ref+" ; demandez-le à l'expéditeur, ou scannez les boîtes une à une",
			"no file lists "+ref+"; ask the sender for it, or scan the packs one by one"))
	case len(files) > 1:
		var list strings.Builder
		for _, f := range files {
			fmt.Fprintf(&list, "\n  %s  %s  %s", f.ID, day(f.AddedAt()), f.Name)
		}
		return nil, errors.New(a.text(ref+" figure dans plusieurs fichiers ; choisissez avec --file ID, et écartez l'autre (drop) :",
			ref+" stands in several files; choose with --file ID, and drop the other one:") + list.String())
	}
	return files[0], nil
}
