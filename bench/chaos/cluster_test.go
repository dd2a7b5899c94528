package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ledgerLeader is the index of the server that leads DECOM_LEDGER.
func (r *rig) ledgerLeader() (int, error) {
	nc, err := nats.Connect(r.natsURL(), nats.Timeout(time.Second))
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, "DECOM_LEDGER")
	if err != nil {
		return 0, err
	}
	var n int
	if c := s.CachedInfo().Cluster; c == nil {
		return 0, fmt.Errorf("DECOM_LEDGER has no cluster")
	} else if _, err := fmt.Sscanf(c.Leader, "n%d", &n); err != nil {
		return 0, fmt.Errorf("leader %q", c.Leader)
	}
	return n, nil
}

// streamMessages is how many messages a stream has taken so far.
func (r *rig) streamMessages(name string) (uint64, error) {
	nc, err := nats.Connect(r.natsURL(), nats.Timeout(time.Second))
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, name)
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.LastSeq, nil
}

// tellAll takes every record from an account's outbox, as if its outcomes had been told when
// they came: the records of a made-up past would keep the publisher busy for minutes.
func (r *rig) tellAll(account string) error {
	nc, err := nats.Connect(r.natsURL())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	c, err := js.Consumer(ctx, "DECOM_LEDGER", "outbox-"+account)
	if err != nil {
		return err
	}
	for {
		info, err := c.Info(ctx)
		if err != nil || info.NumPending == 0 && info.NumAckPending == 0 {
			return err
		}
		for range max(info.NumPending, 1) {
			m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second))
			if err != nil {
				return err
			}
			if err := m.Ack(); err != nil {
				return err
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
}
