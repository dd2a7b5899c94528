package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifier speaks to systemd (sd_notify(3)): Type=notify and WatchdogSec in the unit. Without
// a service manager it says nothing. Its methods may be called from any goroutine.
type notifier struct {
	send func(state string) // never nil
	log  *slog.Logger
}

func newNotifier(log *slog.Logger) *notifier {
	n := &notifier{log: log}
	n.send = func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.Warn("the service manager cannot be told", "err", err)
		}
	}
	return n
}

// ready: the streams are there and every account's loop has begun.
func (n *notifier) ready(status string) { n.send(daemon.SdNotifyReady + "\nSTATUS=" + status) }

// reloading must be followed by ready.
func (n *notifier) reloading() { n.send(daemon.SdNotifyReloading) }

func (n *notifier) stopping() { n.send(daemon.SdNotifyStopping + "\nSTATUS=draining") }

// stuckAfter is how long an account's loop may stand still. It moves every ten seconds and more
// often, and a wait for NATS, Redis or a full disk does not count: a restart would not end it.
const stuckAfter = 45 * time.Second

// watchdog beats at a third of WatchdogSec for as long as every loop is alive. When one stands
// still the beat stops, systemd ends the process with SIGABRT, whose stacks tell where,
// and starts it anew; that loses nothing.
func (n *notifier) watchdog(ctx context.Context, every time.Duration, stuck func() (account string, still time.Duration)) {
	if every <= 0 {
		return
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for told := false; ; {
		account, still := stuck()
		switch {
		case still == 0:
			n.send(daemon.SdNotifyWatchdog)
			told = false
		case !told:
			told = true
			n.log.Error("an account's loop stands still: the watchdog gets no beat any more", "account", account, "for", still.Round(time.Second).String())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// watchdogEvery is WatchdogSec of the unit, 0 without a watchdog for this process.
func watchdogEvery() time.Duration {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return every
}

// stuck names the account whose loop has stood still for the longest time.
func (p *process) stuck() (account string, longest time.Duration) {
	for _, u := range p.units {
		if still := u.loop.Stuck(stuckAfter); still > longest {
			account, longest = u.cfg.Name, still
		}
	}
	return account, longest
}
