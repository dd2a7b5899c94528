package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TrimAge is how late scans are trimmed behind their consumer (protocol.md section 2).
const TrimAge = 7 * 24 * time.Hour

// Unrouted counts the scans in the stream, by site, that no account names. They stay
// there until an account does. Scans of a subject that names no device reach nobody
// either: they are counted under [NoDevice] of their site. One request to the server per
// 100,000 devices.
func (c *Conn) Unrouted(ctx context.Context, accounts []Account) (map[string]uint64, error) {
	routed := map[string]bool{}
	for _, a := range accounts {
		for _, s := range a.Sites {
			routed[s] = true
		}
	}
	info, err := again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		stream, err := c.js.Stream(ctx, StreamScans)
		if err != nil {
			return nil, err
		}
		return stream.Info(ctx, jetstream.WithSubjectFilter(scanPrefix+">"))
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = notSetUp("stream " + StreamScans)
	}
	if err != nil {
		return nil, fail("count unrouted scans", StreamScans, err)
	}
	counts := map[string]uint64{}
	for subject, n := range info.State.Subjects {
		switch site, device := source(subject, scanPrefix); {
		case device == "":
			counts[NoDevice(site)] += n
		case !routed[site]:
			counts[site] += n
		}
	}
	return counts, nil
}

// NoDevice is the key in [Conn.Unrouted] of a site's scans whose subject names no device: that
// subject, which cannot be a site's name.
func NoDevice(site string) string { return scanPrefix + site }

// Trim deletes, site by site, the scans that are older than age and that the consumer
// of the site's account has acked, with everything before them (protocol.md section
// 2). A site that no account names is never touched, nor is one that the account's
// consumer does not serve yet.
func (c *Conn) Trim(ctx context.Context, accounts []Account, age time.Duration) error {
	limit, err := c.firstSince(ctx, StreamScans, scanPrefix+">", time.Now().Add(-age))
	if err != nil {
		return fail("trim", StreamScans, err)
	}
	var errs []error
	for _, a := range accounts {
		errs = append(errs, fail("trim", scansConsumer(a.Name), c.trimAccount(ctx, a, limit)))
	}
	return errors.Join(errs...)
}

func (c *Conn) trimAccount(ctx context.Context, a Account, limit uint64) error {
	info, err := again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (*jetstream.ConsumerInfo, error) {
		return c.consumerInfo(ctx, StreamScans, scansConsumer(a.Name))
	})
	if err != nil {
		return err
	}
	limit = min(limit, info.AckFloor.Stream+1)
	if limit <= 1 {
		return nil
	}
	for _, f := range filtersOf(info.Config) {
		if site := siteOf(f); site == "" || !slices.Contains(a.Sites, site) {
			continue
		}
		_, err := again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (struct{}, error) {
			stream, err := c.js.Stream(ctx, StreamScans)
			if err != nil {
				return struct{}{}, err
			}
			return struct{}{}, stream.Purge(ctx, jetstream.WithPurgeSubject(f), jetstream.WithPurgeSequence(limit))
		})
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	return nil
}
