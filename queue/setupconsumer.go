package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// planScans plans an account's consumer of DECOM_SCANS.
func (c *Conn) planScans(ctx context.Context, a Account, ends ends, owners *owners) (*step, error) {
	name := scansConsumer(a.Name)
	want := jetstream.ConsumerConfig{
		Durable: name, Name: name, Description: "decom: scans of account " + a.Name,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.cfg.AckWait, MaxDeliver: -1, MaxAckPending: MaxAckPending,
		PriorityPolicy: jetstream.PriorityPolicyPrioritized, PriorityGroups: []string{priorityGroup},
	}
	for _, s := range a.Sites {
		want.FilterSubjects = append(want.FilterSubjects, siteFilter(s))
	}
	slices.Sort(want.FilterSubjects)
	s, have, err := c.planConsumer(ctx, StreamScans, want, ends)
	if err != nil {
		return nil, err
	}
	to, err := c.startOf(ctx, a, have, owners)
	if err != nil || to == 0 {
		return s, err
	}
	if s == nil {
		return nil, nil // filters did not change, so nothing to go back to
	}
	s.changes = append(s.changes, Change{StreamScans + "/" + name, "position", position(have), fmt.Sprintf("sequence %d", to)})
	update := s.do
	s.do = func(ctx context.Context) error { return c.moveAndUpdate(ctx, want, have, to, update) }
	return s, nil
}

// moveAndUpdate sets a consumer to a sequence and updates it, so that no delivery falls in
// between: one under the new filters but from the old position would leave scans
// out for ever. Should we die here, the pause ends by itself.
func (c *Conn) moveAndUpdate(ctx context.Context, want jetstream.ConsumerConfig, have *jetstream.ConsumerInfo, to uint64, update func(context.Context) error) error {
	until, before := time.Now().Add(time.Minute), (*time.Time)(nil)
	if have == nil {
		paused := want
		paused.PauseUntil = &until
		if _, err := c.js.CreateOrUpdateConsumer(ctx, StreamScans, paused); err != nil {
			return err
		}
	} else {
		before = have.Config.PauseUntil
		if _, err := c.js.PauseConsumer(ctx, StreamScans, want.Name, until); err != nil {
			return err
		}
	}
	if _, err := c.js.ResetConsumerToSequence(ctx, StreamScans, want.Name, to); err != nil {
		return err
	}
	if err := update(ctx); err != nil {
		return err
	}
	if before != nil && before.After(time.Now()) { // an operator has paused it
		_, err := c.js.PauseConsumer(ctx, StreamScans, want.Name, *before)
		return err
	}
	_, err := c.js.ResumeConsumer(ctx, StreamScans, want.Name)
	return err
}

func position(have *jetstream.ConsumerInfo) string {
	if have == nil {
		return "the first scan"
	}
	return fmt.Sprintf("sequence %d", have.Delivered.Stream+1)
}

// startOf returns the sequence to which the account's consumer has to be set so that
// no scan of a site that is new to it is left out, and none that another account
// has acked is delivered; 0: it may stay where it is, or begin at the first scan.
func (c *Conn) startOf(ctx context.Context, a Account, have *jetstream.ConsumerInfo, all *owners) (uint64, error) {
	added := slices.Clone(a.Sites)
	if have != nil {
		old := filtersOf(have.Config)
		added = slices.DeleteFunc(added, func(s string) bool { return slices.Contains(old, siteFilter(s)) })
	}
	if len(added) == 0 {
		return 0, nil
	}
	if err := c.readOwners(ctx, all); err != nil {
		return 0, err
	}
	moved := false
	to := all.last + 1
	for _, site := range added {
		floor, ok := all.floor(site, scansConsumer(a.Name))
		moved = moved || ok
		m, err := c.get(ctx, StreamScans, getRequest{Seq: floor + 1, NextFor: siteFilter(site)})
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrNotSetUp):
		case err != nil:
			return 0, err
		default:
			to = min(to, m.Seq)
		}
	}
	switch {
	case have == nil && !moved:
		return 0, nil // a new consumer begins at the first scan anyway
	case have != nil && to > have.Delivered.Stream:
		return 0, nil // it comes by them
	}
	return max(to, 1), nil
}

// owners is who serves which sites, as one plan has seen it once: thousands of new accounts must
// not list thousands of consumers each.
type owners struct {
	sites map[string][]owner
	last  uint64 // last sequence of the stream
}

// owner is a consumer that serves a site, and how far it has acked.
type owner struct {
	consumer string
	floor    uint64
}

// floor is how far consumers other than own have acked that serve the site, if there are any.
func (o *owners) floor(site, own string) (floor uint64, any bool) {
	for _, one := range o.sites[site] {
		if one.consumer != own {
			floor, any = max(floor, one.floor), true
		}
	}
	return floor, any
}

// readOwners fills o, unless that was done before.
func (c *Conn) readOwners(ctx context.Context, o *owners) error {
	if o.sites != nil {
		return nil
	}
	stream, err := again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (jetstream.Stream, error) {
		return c.js.Stream(ctx, StreamScans)
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		o.sites = map[string][]owner{}
		return nil
	}
	if err != nil {
		return err
	}
	sites := map[string][]owner{}
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if !strings.HasPrefix(info.Name, scansConsumer("")) {
			continue
		}
		for _, f := range filtersOf(info.Config) {
			if site := siteOf(f); site != "" {
				sites[site] = append(sites[site], owner{info.Name, info.AckFloor.Stream})
			}
		}
	}
	if err := list.Err(); err != nil {
		return err
	}
	o.sites, o.last = sites, stream.CachedInfo().State.LastSeq
	return nil
}

// planOutbox plans an account's durable reader of DECOM_LEDGER.
func (c *Conn) planOutbox(ctx context.Context, a Account, ends ends) (*step, error) {
	name := outboxConsumer(a.Name)
	s, _, err := c.planConsumer(ctx, StreamLedger, jetstream.ConsumerConfig{
		Durable: name, Name: name, Description: "decom: publishes the outcomes of account " + a.Name,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.cfg.AckWait, MaxDeliver: -1, MaxAckPending: 1,
		FilterSubjects: []string{ledgerSubject(a.Name)},
	}, ends)
	return s, err
}

// planConsumer compares a durable consumer with what is wanted; have is nil when
// there is none.
func (c *Conn) planConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig, ends ends) (_ *step, have *jetstream.ConsumerInfo, _ error) {
	info, err := again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (*jetstream.ConsumerInfo, error) {
		return c.consumerInfo(ctx, stream, want.Durable)
	})
	d := diff{object: stream + "/" + want.Durable}
	if errors.Is(err, ErrNotSetUp) {
		d.changes = []Change{{Object: d.object}}
		s, err := d.step(func(ctx context.Context) error {
			_, err := c.js.CreateOrUpdateConsumer(ctx, stream, want)
			return err
		})
		return s, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	merged := info.Config
	d.consumer(&merged, want)
	back, err := c.planSetBack(ctx, &d, stream, info, ends)
	if err != nil {
		return nil, nil, err
	}
	s, err := d.step(func(ctx context.Context) error {
		if back != nil {
			if err := back(ctx); err != nil {
				return err
			}
		}
		_, err := c.js.UpdateConsumer(ctx, stream, merged)
		return err
	})
	return s, info, err
}

func (d *diff) consumer(have *jetstream.ConsumerConfig, want jetstream.ConsumerConfig) {
	const again = "delete the consumer when all its scans are done, and run decom setup again"
	d.never(have.AckPolicy != want.AckPolicy, "ack policy "+have.AckPolicy.String(), want.AckPolicy.String(), again)
	d.never(have.DeliverSubject != "", "a deliver subject (push)", "a pull consumer", again)
	d.never(have.MemoryStorage, "memory storage", "file storage", again)
	d.never(have.ReplayPolicy != jetstream.ReplayInstantPolicy, "replay policy original", "instant", again)
	d.never(have.DeliverPolicy != jetstream.DeliverAllPolicy, "deliver policy "+have.DeliverPolicy.String(), "all", again)

	filters := filtersOf(*have)
	slices.Sort(filters)
	if !slices.Equal(filters, want.FilterSubjects) {
		d.changes = append(d.changes, Change{d.object, "filters", strings.Join(filters, ","), strings.Join(want.FilterSubjects, ",")})
		have.FilterSubject, have.FilterSubjects = "", want.FilterSubjects
	}
	set(d, "ack_wait", &have.AckWait, want.AckWait)
	set(d, "max_deliver", &have.MaxDeliver, want.MaxDeliver)
	set(d, "max_ack_pending", &have.MaxAckPending, want.MaxAckPending)
	set(d, "inactive_threshold", &have.InactiveThreshold, 0)
	set(d, "headers_only", &have.HeadersOnly, false)
	set(d, "priority_policy", &have.PriorityPolicy, want.PriorityPolicy)
	if len(have.BackOff) > 0 {
		d.changes = append(d.changes, Change{d.object, "backoff", fmt.Sprint(have.BackOff), "none"})
		have.BackOff = nil
	}
	if !slices.Equal(have.PriorityGroups, want.PriorityGroups) {
		d.changes = append(d.changes, Change{d.object, "priority_groups", fmt.Sprint(have.PriorityGroups), fmt.Sprint(want.PriorityGroups)})
		have.PriorityGroups = want.PriorityGroups
	}
}
