package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The server keeps what an MQTT client publishes with QoS 1 in a stream of its own, under
// this prefix and with this header, and gives it to sessions that subscribed with QoS 1
// until they acknowledge. Both are the server's own affair; the embedded server has the
// version in go.mod, and the tests of this package hold it. Other servers' are left alone.
const (
	mqttMessages  = "$MQTT.msgs."
	headerMQTTPub = "Nmqtt-Pub"
)

// mqttKept is how long a session that does not come back keeps its outcomes. They stay in
// DECOM_OUTCOMES as ever.
const mqttKept = 30 * 24 * time.Hour

// mqttTells is how many outcomes are out to the server at once.
const mqttTells = 32

// tellMQTT gives outcomes to the devices' MQTT sessions with QoS 1. It comes before
// DECOM_OUTCOMES: an outcome that is there is never told again by a start, so a death in between
// must leave it to be told twice, not never. With the header the server's own delivery of
// the message in DECOM_OUTCOMES, QoS 0, goes to subscriptions with QoS 0 only.
func (c *Conn) tellMQTT(ctx context.Context, msgs []*nats.Msg) error {
	errs := make([]error, len(msgs))
	var out sync.WaitGroup
	places := make(chan struct{}, mqttTells)
	for i, m := range msgs {
		m.Header[headerMQTTPub] = []string{"1"}
		places <- struct{}{}
		out.Go(func() {
			defer func() { <-places }()
			errs[i] = c.tellOne(ctx, m)
		})
	}
	out.Wait()
	return fail("publish", "MQTT outcomes", errors.Join(errs...))
}

// tellOne waits until the server has it. No device ever spoke MQTT: nobody is to be told.
func (c *Conn) tellOne(ctx context.Context, m *nats.Msg) error {
	twin := &nats.Msg{Subject: mqttMessages + m.Subject, Data: m.Data, Header: nats.Header{headerMQTTPub: m.Header[headerMQTTPub], headerMsgID: m.Header[headerMsgID]}}
	for back := (pause{}); ; {
		one, cancel := context.WithTimeout(ctx, c.cfg.AnswerWait)
		_, err := c.js.PublishMsg(one, twin, jetstream.WithRetryAttempts(0))
		cancel()
		switch {
		case err == nil, errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
			return nil
		case fateOf(err) == fateRefused:
			return err
		}
		if werr := back.wait(ctx); werr != nil {
			return errors.Join(err, werr)
		}
	}
}
