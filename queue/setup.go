package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"decom/worker/scan"

	"github.com/nats-io/nats.go/jetstream"
)

// Change is one thing that Setup did, or would do.
type Change struct {
	Object string // stream, or stream/consumer
	Field  string // empty: the object was created
	From   string
	To     string
}

// String is a line for the screen.
func (c Change) String() string {
	if c.Field == "" {
		return c.Object + ": created"
	}
	return fmt.Sprintf("%s: %s %s -> %s", c.Object, c.Field, c.From, c.To)
}

// step is one planned action and the changes it makes.
type step struct {
	changes []Change
	do      func(context.Context) error
}

// Setup creates the streams and the consumers of these accounts, or brings them to
// what protocol.md section 2 wants, and says what it changed; with dryRun, what it
// would change. When something cannot be changed it changes nothing and returns
// [ErrImmutable] with a sentence each. What the server cannot do now, a full disk or no
// answer in time, is [ErrUnavailable]. Settings that the protocol does not name
// (limits by bytes, placement, compression) are left alone, and so are consumers of
// accounts that are not named here. Several processes may call it at once.
//
// Scans of a site that an account names for the first time and that are in the
// stream already are delivered, too: the consumer goes back to the first of them.
// Scans that come again by that are recognised by the worker. A site that moves
// from one account to another begins behind what the old one has acked.
func (c *Conn) Setup(ctx context.Context, accounts []Account, dryRun bool) ([]Change, error) {
	if err := checkAccounts(accounts); err != nil {
		return nil, fail("setup", "", err)
	}
	steps, err := c.plan(ctx, accounts)
	if err != nil {
		return nil, fail("setup", "", unavailable(ctx, err))
	}
	var changes []Change
	for _, s := range steps {
		if !dryRun {
			if err := s.do(ctx); err != nil {
				return changes, fail("setup", s.changes[0].Object, unavailable(ctx, explain(err)))
			}
		}
		changes = append(changes, s.changes...)
	}
	return changes, nil
}

// unavailable marks what is the server's fault and may pass, with [ErrUnavailable]. What the
// server cannot do it refuses with a code of 500 and above, what is wrong with a request with
// one of 400 (nats-server errors.json); of a cluster that it does not have it says 500, too.
func unavailable(ctx context.Context, err error) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled): // by the caller
		return err
	case ok && api.Code >= 500 && int(api.ErrorCode) != codeNoCluster:
	case !ok && passing(err):
	default:
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// explain turns the refusals that people meet into sentences.
func explain(err error) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return err
	}
	switch int(api.ErrorCode) {
	case 10047: // insufficient storage
		return fmt.Errorf("the server has no room left for another stream (its max_file_store, or the disk): %w", err)
	case codeNoCluster, 10005: // 10005: too few peers
		return fmt.Errorf("more than one replica needs a cluster with as many servers: %w", err)
	case codeMaxConsumers:
		return fmt.Errorf("the server allows no more consumers, and each account needs one of %s and one of %s: "+
			"put limits { default_max_consumers: -1 } into jetstream { } of every server, or lift the limit of the NATS account: %w", StreamScans, StreamLedger, err)
	}
	return err
}

func checkAccounts(accounts []Account) error {
	var errs []error
	owner := map[string]string{}
	names := map[string]bool{}
	for _, a := range accounts {
		if !scan.ValidToken(a.Name) {
			errs = append(errs, fmt.Errorf("account %q: a name is 1 to 64 of A-Z a-z 0-9 _ -", a.Name))
		}
		if names[a.Name] {
			errs = append(errs, fmt.Errorf("account %s is given twice", a.Name))
		}
		names[a.Name] = true
		if len(a.Sites) == 0 {
			errs = append(errs, fmt.Errorf("account %s has no site", a.Name)) // an empty filter would take every scan
		}
		for _, s := range a.Sites {
			if !scan.ValidToken(s) {
				errs = append(errs, fmt.Errorf("account %s: site %q is not 1 to 64 of A-Z a-z 0-9 _ -", a.Name, s))
			}
			if o, taken := owner[s]; taken {
				errs = append(errs, fmt.Errorf("site %s is given to %s and to %s", s, o, a.Name))
			}
			owner[s] = a.Name
		}
	}
	return errors.Join(errs...)
}

func (c *Conn) plan(ctx context.Context, accounts []Account) ([]step, error) {
	var steps []step
	var errs []error
	add := func(s *step, err error) {
		if err != nil {
			errs = append(errs, err)
		} else if s != nil {
			steps = append(steps, *s)
		}
	}
	silent := func() bool { return passing(errors.Join(errs...)) } // one sentence about that is enough, and one wait
	for _, want := range c.streams() {
		if !silent() {
			add(c.planStream(ctx, want))
		}
	}
	if c.keepsLost() {
		add(c.planLost(ctx))
	}
	ends, owners := ends{}, &owners{}
	for _, a := range accounts {
		if silent() {
			break
		}
		add(c.planScans(ctx, a, ends, owners))
		add(c.planOutbox(ctx, a, ends))
	}
	return steps, errors.Join(errs...)
}

// streams returns what protocol.md section 2 and contract.md section 3 want. Zero
// limits mean what the server makes of them: none.
func (c *Conn) streams() []jetstream.StreamConfig {
	base := jetstream.StreamConfig{
		Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		MaxConsumers: -1, MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
		Replicas: max(c.cfg.Replicas, 1),
	}
	scans, ledger, outcomes := base, base, base
	// ">" and not "*": a scan under a subject that is too deep is stored and taken like any
	// other, its outcome as deep, where otherwise nobody would take it.
	scans.Name, scans.Subjects, scans.Duplicates = StreamScans, []string{scanPrefix + ">"}, 100*time.Millisecond
	scans.Description = "decom: scan events of robots; trimmed behind the consumers"
	ledger.Name, ledger.Subjects, ledger.Duplicates = StreamLedger, []string{ledgerPrefix + "*"}, 2*time.Minute
	ledger.DenyDelete, ledger.DenyPurge = true, true
	ledger.Description = "decom: hash-chained ledger, the only authority; never delete"
	outcomes.Name, outcomes.Subjects, outcomes.Duplicates = StreamOutcomes, []string{outcomePrefix + ">"}, time.Hour
	outcomes.Description = "decom: one final outcome a scan event"
	scans.AllowAtomicPublish, outcomes.AllowAtomicPublish = true, true // batch.go
	return []jetstream.StreamConfig{scans, ledger, outcomes}
}

func (c *Conn) planStream(ctx context.Context, want jetstream.StreamConfig) (*step, error) {
	stream, err := again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (jetstream.Stream, error) {
		return c.js.Stream(ctx, want.Name)
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return &step{
			changes: []Change{{Object: want.Name}},
			do: func(ctx context.Context) error {
				_, err := c.js.CreateStream(ctx, want)
				return err
			},
		}, nil
	}
	if err != nil {
		return nil, err
	}
	have := stream.CachedInfo().Config
	merged := have
	d := diff{object: want.Name}
	d.streamImmutable(have, want)
	d.stream(&merged, want, c.cfg.Replicas)
	return d.step(func(ctx context.Context) error {
		_, err := c.js.UpdateStream(ctx, merged)
		return err
	})
}

// diff gathers the differences between an object and what is wanted of it.
type diff struct {
	object  string
	changes []Change
	errs    []error
}

func (d *diff) step(do func(context.Context) error) (*step, error) {
	if len(d.errs) > 0 {
		return nil, errors.Join(d.errs...)
	}
	if len(d.changes) == 0 {
		return nil, nil
	}
	return &step{changes: d.changes, do: do}, nil
}

// set brings one field to what is wanted.
func set[T comparable](d *diff, field string, have *T, want T) {
	if *have != want {
		d.changes = append(d.changes, Change{d.object, field, fmt.Sprint(*have), fmt.Sprint(want)})
		*have = want
	}
}

// never reports a field that has a value which cannot be changed any more.
func (d *diff) never(wrong bool, have, want, todo string) {
	if wrong {
		d.errs = append(d.errs, fmt.Errorf("%s has %s, decom needs %s, and that %w: %s", d.object, have, want, ErrImmutable, todo))
	}
}

const anew = "move its messages away, delete it, and run decom setup again"

func (d *diff) streamImmutable(have, want jetstream.StreamConfig) {
	d.never(have.Storage != want.Storage, have.Storage.String()+" storage", want.Storage.String()+" storage", anew)
	d.never(have.Retention == jetstream.WorkQueuePolicy, "work-queue retention", "limits retention", anew)
	d.never(have.DenyPurge && !want.DenyPurge, "deny_purge", "it off (old scans are trimmed)", anew)
	d.never(have.DenyDelete && !want.DenyDelete, "deny_delete", "it off", anew)
	d.never(have.Sealed, "been sealed", "it open", anew)
	d.never(have.Mirror != nil, "a mirror as its source", "a stream that takes messages itself", anew)
	d.never(have.AllowMsgTTL && want.DenyDelete, "allow_msg_ttl (messages may expire)", "it off", anew)
	d.never(have.AllowMsgCounter, "allow_msg_counter", "it off", anew)
	d.never(have.PersistMode == jetstream.AsyncPersistMode, "persist_mode async (answers before it writes)", "the default", anew)
}

func (d *diff) stream(have *jetstream.StreamConfig, want jetstream.StreamConfig, replicas int) {
	if !slices.Equal(have.Subjects, want.Subjects) {
		d.changes = append(d.changes, Change{d.object, "subjects", strings.Join(have.Subjects, ","), strings.Join(want.Subjects, ",")})
		have.Subjects = want.Subjects
	}
	set(d, "retention", &have.Retention, want.Retention)
	set(d, "discard", &have.Discard, want.Discard)
	set(d, "discard_new_per_subject", &have.DiscardNewPerSubject, false)
	set(d, "max_age", &have.MaxAge, 0)
	set(d, "max_msgs_per_subject", &have.MaxMsgsPerSubject, -1) // it would drop the oldest records
	set(d, "duplicate_window", &have.Duplicates, want.Duplicates)
	set(d, "no_ack", &have.NoAck, false)
	if want.AllowAtomicPublish {
		set(d, "allow_atomic", &have.AllowAtomicPublish, true)
	}
	if want.DenyDelete { // the ledger
		set(d, "deny_delete", &have.DenyDelete, true)
		set(d, "deny_purge", &have.DenyPurge, true)
		set(d, "allow_direct", &have.AllowDirect, false) // reads must come from the leader
		set(d, "allow_rollup_hdrs", &have.AllowRollup, false)
		if have.MaxMsgSize > 0 {
			set(d, "max_msg_size", &have.MaxMsgSize, -1)
		}
	}
	switch {
	case replicas == 0: // not asked for
	case replicas < have.Replicas:
		d.errs = append(d.errs, fmt.Errorf("%s has %d replicas, the configuration says %d: fewer copies are not made by setup, "+
			"use the nats command if that is meant", d.object, have.Replicas, replicas))
	default:
		set(d, "num_replicas", &have.Replicas, replicas)
	}
}
