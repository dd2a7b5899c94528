package queue

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"

	"decom/worker/scan"
)

// controlPrefix is the start of the subjects of contract.md section 3 on which operators'
// tools tell workers that they have written on a ledger.
const controlPrefix = "decom.control."

// TellControl tells every process that a person has written on an account's ledger, so that
// it looks at once. No stream keeps the message and nothing may rest on it: the ledger
// says what was decided. An error means that processes find out by themselves, later.
func (c *Conn) TellControl(account string) error {
	if err := c.nc.Publish(controlPrefix+account, []byte(`{"v":1}`)); err != nil {
		return fail("tell", controlPrefix+account, err)
	}
	return nil
}

// WatchControl calls fn with the account of each message of [Conn.TellControl] until ctx
// ends, through every loss of the connection. Messages may be missed. fn must not block.
func (c *Conn) WatchControl(ctx context.Context, fn func(account string)) error {
	sub, err := c.nc.Subscribe(controlPrefix+"*", func(m *nats.Msg) {
		if account := strings.TrimPrefix(m.Subject, controlPrefix); scan.ValidToken(account) {
			fn(account)
		}
	})
	if err != nil {
		return fail("watch", controlPrefix+"*", err)
	}
	<-ctx.Done()
	return fail("watch", controlPrefix+"*", sub.Unsubscribe())
}
