package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"decom/queue"
	"decom/queue/doors/wwks2"
)

// inLine is the doors that robots' bytes go through. They are served before anything else
// is connected: a stock system must reach its robot whatever decom waits for.
type inLine struct {
	met  *doorMetrics
	conn atomic.Pointer[queue.Conn] // nil: what is heard waits in the spools
	list *entrances
	stop func() // ends the doors and waits for them
}

// openInLine opens and serves them until ctx ends or stop is called.
func openInLine(ctx context.Context, c *loaded, log *slog.Logger) (*inLine, error) {
	in := &inLine{met: newDoorMetrics(), list: &entrances{}, stop: func() {}}
	for i, r := range c.Doors.WWKS2 {
		if r.Listen == "" {
			continue
		}
		l, err := wwks2.New(r.listener(&c.Config), wwks2.Deps{Publish: in.publish, Read: readFields, Count: in.met.wwks2, Trouble: in.met.inLine, Log: log})
		if err != nil {
			in.list.drop()
			return nil, exitWith(exitConfig, fmt.Errorf("doors.wwks2.%d: %w", i, err))
		}
		in.list.list = append(in.list.list, openDoor{"wwks2 " + l.Addr().String() + " -> " + r.Upstream, l.Run})
	}
	if len(in.list.list) == 0 {
		return in, nil
	}
	own, cancel := context.WithCancel(ctx)
	var served sync.WaitGroup
	served.Go(func() {
		if err := in.list.run(own); err != nil {
			log.Error("a door has closed", "err", err)
		}
	})
	in.stop = func() { cancel(); served.Wait() }
	log.Info("robots in line are served", "doors", in.list.names())
	return in, nil
}

var errNotYet = errors.New("NATS is not connected yet")

func (in *inLine) publish(ctx context.Context, scans []queue.Scan) ([]queue.Ack, error) {
	if conn := in.conn.Load(); conn != nil {
		return conn.PublishScans(ctx, scans)
	}
	return make([]queue.Ack, len(scans)), errNotYet
}

// startPause is the wait between two tries of what is down at start.
const startPause = 3 * time.Second

// patiently tries until what was down at start is there, if robots are in line: to end the
// program for a restart, as without them, would cut every robot off each time.
func (in *inLine) patiently(ctx context.Context, log *slog.Logger, connect func() error) error {
	for told := false; ; told = true {
		err := connect()
		e, coded := errors.AsType[*exitError](err)
		if err == nil || len(in.list.list) == 0 || !coded || e.code != exitDown {
			return err
		}
		if !told {
			log.Error("what decom needs is down; robots in line are served meanwhile, and what they say is kept", "err", err)
		}
		select {
		case <-time.After(startPause):
		case <-ctx.Done():
			return err
		}
	}
}

// drop closes what was opened and never served.
func (d *entrances) drop() {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = d.run(gone) // each ends at once, and closes what it has
}
