package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"decom/queue"
	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// reviewItem is one line of decom review ls --json. Fields are added, never renamed.
type reviewItem struct {
	What    string      `json:"what"` // pack; scan: a rejected one; batch, device: withheld
	Account string      `json:"account"`
	Pack    scan.PackID `json:"pack,omitempty"`
	Scheme  scan.Scheme `json:"scheme,omitempty"`
	Product string      `json:"product,omitempty"`
	Serial  string      `json:"serial,omitempty"` // with --serials only
	Batch   string      `json:"batch,omitempty"`
	Expiry  string      `json:"expiry,omitempty"`
	Since   string      `json:"since"`
	Seq     uint64      `json:"seq"`
	Op      string      `json:"op,omitempty"`
	Result  scan.Result `json:"result"`
	Reason  scan.Reason `json:"reason"`
	Code    string      `json:"code,omitempty"`
	State   string      `json:"state,omitempty"` // what NMVS said last
	AlertID string      `json:"alert_id,omitempty"`
	Source  string      `json:"source,omitempty"`
	Event   string      `json:"event_id,omitempty"`
	Who     string      `json:"who,omitempty"`
	Why     string      `json:"why,omitempty"`
	Kept    bool        `json:"quarantined,omitempty"` // a person left it put aside for good
	Message scan.Text   `json:"message"`
}

// listFlags are those of decom review ls.
type listFlags struct {
	account               string
	asJSON, serials, kept bool
	rejected              time.Duration
}

func newReviewLs(a *app) *cobra.Command {
	var f listFlags
	c := &cobra.Command{
		Use:   "ls",
		Short: a.text("La liste, la plus ancienne d'abord", "The list, oldest first"),
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.reviewLs(c.Context(), f) },
	}
	c.Flags().StringVar(&f.account, "account", "", "only this account")
	c.Flags().BoolVar(&f.asJSON, "json", false, "one JSON object a line")
	c.Flags().BoolVar(&f.serials, "serials", false, "show serial numbers")
	c.Flags().BoolVar(&f.kept, "quarantined", false, "also packs that a person left put aside for good")
	c.Flags().DurationVar(&f.rejected, "rejected", 0, "also scans rejected in the last `duration`, as in 24h")
	return c
}

func (a *app) reviewLs(ctx context.Context, f listFlags) error {
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	accounts, err := d.accounts(f.account)
	if err != nil {
		return err
	}
	var items []reviewItem
	for _, account := range accounts {
		more, err := d.waiting(ctx, account, f)
		if err != nil {
			return fmt.Errorf("account %s: %w", account, err)
		}
		items = append(items, more...)
	}
	if f.asJSON {
		enc := json.NewEncoder(a.stdout)
		for i := range items {
			if err := enc.Encode(&items[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return a.printReview(items, f.serials)
}

// waiting lists an account's packs and scans that wait for a person, oldest first.
func (d *desk) waiting(ctx context.Context, account string, f listFlags) ([]reviewItem, error) {
	records := d.conn.Ledger(account)
	only, err := d.parked(ctx, account)
	if err != nil {
		return nil, err
	}
	x := newCaseReader(records, account, only)
	if err := x.read(ctx); err != nil {
		return nil, err
	}
	var items []reviewItem
	for k, c := range x.cases {
		if c.waits() || f.kept && c.State.Phase == ledger.Parked {
			items = append(items, c.item(account, k, f.serials))
		}
	}
	controls, err := worker.ControlsOf(ctx, records, d.store, account)
	if err != nil {
		return nil, err
	}
	for _, w := range controls.Withholds(time.Now()) {
		items = append(items, withheldItem(account, w))
	}
	if f.rejected > 0 {
		more, err := rejected(ctx, records, account, time.Now().Add(-f.rejected))
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	sortReview(items)
	return items, nil
}

// sortReview puts the oldest first.
func sortReview(items []reviewItem) {
	slices.SortFunc(items, func(a, b reviewItem) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Pack, b.Pack), cmp.Compare(a.Event, b.Event))
	})
}

// parked asks Redis which packs may be put aside, so that not every pack of a long
// ledger has to be kept in memory; nil (every pack) when Redis does not stand at the
// ledger's end. The ledger has the last word either way.
func (d *desk) parked(ctx context.Context, account string) (map[scan.PackID]bool, error) {
	last, _, err := d.conn.Ledger(account).Last(ctx)
	if err != nil {
		return nil, err
	}
	before, known, err := d.store.Head(ctx, account)
	if err != nil || !known || before != last.Head() {
		return nil, err
	}
	set := map[scan.PackID]bool{}
	for after := scan.PackID(""); ; {
		ks, err := d.store.Parked(ctx, account, after, packstate.MaxPacks)
		if err != nil {
			return nil, err
		}
		if len(ks) == 0 {
			return set, nil
		}
		for _, k := range ks {
			set[k] = true
		}
		after = ks[len(ks)-1]
	}
}

func (c *reviewCase) item(account string, k scan.PackID, serials bool) reviewItem {
	it := reviewItem{What: "pack", Account: account, Pack: k, Scheme: c.Pack.Scheme(), Product: c.Pack.Code(), Batch: c.Pack.Batch(), Expiry: c.Pack.Expiry(),
		Since: c.Since, Seq: c.Seq, Result: c.Answer.Result, Reason: c.Answer.Reason, Code: c.Answer.Code, State: c.NMVSState, AlertID: c.Answer.AlertID,
		Source: c.Source, Event: c.Event, Who: c.Who, Why: c.Why, Kept: c.Kept, Message: scan.Message(c.Op, c.Answer.Result, c.Answer.Reason)}
	if c.Op != 0 {
		it.Op = c.Op.String()
	}
	if serials {
		it.Serial = c.Pack.Serial()
	}
	return it
}

// withheldItem is a batch or device of which nothing new is sent until a person frees it.
func withheldItem(account string, w ledger.Withheld) reviewItem {
	it := reviewItem{What: w.Scope.Kind(), Account: account, Scheme: w.Scope.Lot.Scheme, Product: w.Scope.Lot.Code, Batch: w.Scope.Lot.Batch,
		Since: w.At, Seq: w.Seq, Reason: scan.BatchWithheld, Source: w.Scope.Device, Who: w.Who, Why: w.Why}
	if w.Scope.Device != "" {
		it.Reason = scan.DeviceWithheld
	}
	it.Message = scan.Message(scan.Supply, scan.Refused, it.Reason)
	return it
}

// rejected lists the scans that were rejected since then. Their text is not on the
// ledger: the outcome and the scan stream have it.
func rejected(ctx context.Context, records worker.Records, account string, since time.Time) (items []reviewItem, err error) {
	_, err = records.Read(ctx, 1, func(e queue.Entry) error {
		if e.Time.Before(since) {
			return nil
		}
		r, err := ledger.Decode(e.Payload, account)
		if err != nil {
			return &worker.ChainError{Seq: e.Seq, Err: err}
		}
		for i := range r.Note {
			if n := &r.Note[i]; n.Result == scan.Rejected {
				items = append(items, reviewItem{What: "scan", Account: account, Pack: n.K, Since: r.At, Seq: e.Seq, Op: n.Op.String(), Result: n.Result, Reason: n.Reason,
					Source: n.Src, Event: n.Ev, Message: scan.Message(n.Op, n.Result, n.Reason)})
			}
		}
		return nil
	})
	return items, err
}

func (a *app) printReview(items []reviewItem, serials bool) error {
	if len(items) == 0 {
		a.sayf("Rien n'attend personne.", "Nothing waits for anybody.")
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, a.text("depuis\tcompte\tboîte\tproduit\topération\trésultat\tmotif\tétat\talerte\torigine", "since\taccount\tpack\tproduct\toperation\tresult\treason\tstate\talert\tsource"))
	for i := range items {
		it := &items[i]
		product := it.Product
		if serials && it.Serial != "" {
			product += " " + it.Serial
		}
		name := string(it.Pack)
		switch it.What {
		case "scan":
			name = it.Event
		case ledger.ScopeBatch:
			product += " " + it.Batch
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", it.Since, it.Account, dash(name), dash(product), dash(it.Op),
			dash(string(it.Result)), dash(string(it.Reason)), dash(it.State), dash(it.AlertID), dash(it.Source))
	}
	return w.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
