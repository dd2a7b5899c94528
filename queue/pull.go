package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How long one pull request stands, and how often the server says that it still
// knows it. A server that restarted or lost its leadership forgets requests
// without a word (protocol.md section 11); after two missing heartbeats, and in
// any case when it expires, the request is made anew.
const (
	pullExpires   = 10 * time.Second
	pullHeartbeat = time.Second
)

// syncQueue is how many messages may lie in a puller's inbox. nats.go makes room for 65,536 by
// itself, half a megabyte for each inbox: with 200 accounts, 200 MiB. What does not fit is
// delivered again after AckWait.
const syncQueue = 4096

// pullMost bounds one request well below that: statuses come beside the messages.
const pullMost = syncQueue / 2

type pullRequest struct {
	Batch     int           `json:"batch"`
	MaxBytes  int           `json:"max_bytes,omitempty"`
	Expires   time.Duration `json:"expires,omitempty"`
	Heartbeat time.Duration `json:"idle_heartbeat,omitempty"`
	NoWait    bool          `json:"no_wait,omitempty"`
	Group     string        `json:"group,omitempty"`
	Priority  int           `json:"priority,omitempty"`
}

// puller fetches from one durable consumer by pull requests made by hand, one
// inbox for all of them: jetstream's Fetch makes a subscription, two channels
// and a goroutine each time (limits.md section 2: 12 % of the rate).
//
// Between two fetches no request stands, so nothing is delivered to a process
// that does not want it.
type puller struct {
	c                *Conn
	stream, consumer string
	grouped          bool          // the consumer has the priority group
	turn             chan struct{} // capacity 1: the right to use what follows

	sub   *nats.Subscription // owned by the holder of turn; nil until needed
	inbox string             // owned by the holder of turn
	n     uint64             // number of the last request; owned by the holder of turn
	gotAt time.Time          // when a fetch last brought something; owned by the holder of turn
	ahead string             // inbox subject of a request for one message that nobody waits for yet; owned by the holder of turn
}

func newPuller(c *Conn, stream, consumer string, grouped bool) *puller {
	return &puller{c: c, stream: stream, consumer: consumer, grouped: grouped, turn: make(chan struct{}, 1)}
}

// fetch returns 1 to limit messages. It waits for the first until ctx ends, then up to
// fill for more.
func (p *puller) fetch(ctx context.Context, limit int, fill time.Duration, priority int) ([]*nats.Msg, error) {
	if limit < 1 {
		return nil, fmt.Errorf("%d deliveries asked for", limit)
	}
	limit = min(limit, pullMost)
	select {
	case p.turn <- struct{}{}: // even when ctx has ended: what was asked for ahead may be here
	default:
		select {
		case p.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer func() { <-p.turn }()
	var got []*nats.Msg
	for back := (pause{}); len(got) == 0; {
		var err error
		// NoWait with an expiry: waits for the first message, then takes what is there.
		req := pullRequest{Batch: limit, NoWait: true, Expires: pullExpires, Heartbeat: pullHeartbeat, Priority: priority}
		if time.Since(p.gotAt) < busyFor {
			req.Expires, req.Heartbeat = busyExpires, 0
		}
		if p.ahead == "" && (ctx.Err() != nil || !req.endBefore(ctx)) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		got, err = p.ask(ctx, req)
		if len(got) > 0 {
			p.gotAt = time.Now()
			break // whatever ended the request: nobody else gets these before AckWait has passed
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil && !passing(err) {
			return nil, err
		}
		if err != nil {
			if err := p.afterSilence(ctx, err, &back); err != nil {
				return nil, err
			}
		}
	}
	if len(got) < limit && fill > 0 && sleep(ctx, fill) == nil {
		// An error here costs nothing: what was not delivered stays where it is.
		more, _ := p.ask(ctx, pullRequest{Batch: limit - len(got), NoWait: true, Priority: priority})
		got = append(got, more...)
	}
	return got, nil
}

// pullMargin is how long before ctx's deadline a request ends at the server.
const pullMargin = 50 * time.Millisecond

// endBefore has the request end by itself a little before ctx does, and says whether there is
// time for one. Giving a request up costs the inbox, and a new one for the next: for an
// idle account that would be each second.
func (r *pullRequest) endBefore(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	if !ok {
		return true
	}
	left := time.Until(deadline) - pullMargin
	if left < r.Expires {
		r.Expires = left
	}
	if r.Expires < 2*r.Heartbeat { // the server refuses a heartbeat longer than half of it
		r.Heartbeat = 0
	}
	return left > 0
}

// afterSilence waits a little; when nobody serves the consumer at all, it asks
// whether there is one.
func (p *puller) afterSilence(ctx context.Context, err error, back *pause) error {
	if errors.Is(err, nats.ErrNoResponders) {
		one, cancel := context.WithTimeout(ctx, p.c.cfg.AnswerWait)
		_, err := p.c.js.Consumer(one, p.stream, p.consumer)
		cancel()
		if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
			return notSetUp("consumer " + p.consumer + " of " + p.stream)
		}
	}
	return back.wait(ctx)
}

// askAhead makes the request for one message that the next fetch will wait for, so that it
// travels with what the caller sends next. It is a favour: where it fails, fetch asks.
func (p *puller) askAhead() {
	select {
	case p.turn <- struct{}{}:
	default:
		return // somebody fetches
	}
	defer func() { <-p.turn }()
	if p.ahead == "" {
		p.ahead, _ = p.request(oneMessage)
	}
}

// oneMessage is a request that waits for one message, where one came just now.
var oneMessage = pullRequest{Batch: 1, NoWait: true, Expires: busyExpires}

// ask makes one pull request and collects what it brings. On return the request
// does not stand any more. Messages and an error may come together.
func (p *puller) ask(ctx context.Context, req pullRequest) ([]*nats.Msg, error) {
	reply := p.ahead
	p.ahead = ""
	if reply != "" && req.Batch == 1 && p.sub != nil && p.sub.IsValid() {
		return p.collect(ctx, oneMessage, reply)
	}
	reply, err := p.request(req)
	if err != nil {
		return nil, err
	}
	return p.collect(ctx, req, reply)
}

// request makes a pull request and returns the subject on which its end will be told.
func (p *puller) request(req pullRequest) (string, error) {
	if err := p.listen(); err != nil {
		return "", err
	}
	if p.grouped {
		req.Group = priorityGroup
	}
	body, err := json.Marshal(req)
	if err != nil {
		return "", err
	}
	p.n++
	reply := p.inbox + "." + strconv.FormatUint(p.n, 10)
	return reply, p.c.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+p.stream+"."+p.consumer, reply, body)
}

// collect takes what the request at reply brings.
func (p *puller) collect(ctx context.Context, req pullRequest, reply string) ([]*nats.Msg, error) {
	quiet := 2 * pullHeartbeat
	if req.Heartbeat == 0 {
		quiet = p.c.cfg.AnswerWait
	}
	got := make([]*nats.Msg, 0, min(req.Batch, 1024))
	for len(got) < req.Batch {
		msg, err := p.next(ctx, quiet)
		if err != nil && errors.Is(ctx.Err(), context.Canceled) {
			more, over := p.linger(req.Batch-len(got), reply)
			if got = append(got, more...); over {
				return got, err
			}
		}
		if err != nil {
			return append(got, p.cancel(req.Batch-len(got))...), err
		}
		if isDelivery(msg) {
			got = append(got, msg)
			continue
		}
		if msg.Subject != reply {
			continue // the end of a request that was given up
		}
		if done, err := p.ended(msg.Header.Get("Status"), msg.Header.Get("Description")); done {
			return got, err
		}
	}
	return got, nil
}

// pullLinger is how long a reader that is told to stop waits for the end of its request. A request
// that is given up on the way may have been served already, by a server that has not heard of it
// yet: that message is nobody's until AckWait has passed, and with it, in the outbox, every
// outcome of the account. So where messages came in the last busyFor, a request stands no longer
// than that; where none came, hardly one will in this moment.
const (
	pullLinger  = time.Second
	busyFor     = pullExpires
	busyExpires = pullLinger - pullMargin
)

// linger waits for the end of a request whose caller has gone, and returns what it brings, at
// most limit messages. over: it has ended.
func (p *puller) linger(limit int, reply string) (got []*nats.Msg, over bool) {
	ctx, cancel := context.WithTimeout(context.Background(), pullLinger)
	defer cancel()
	for len(got) < limit {
		msg, err := p.sub.NextMsgWithContext(ctx)
		switch {
		case err != nil:
			return got, false
		case isDelivery(msg):
			got = append(got, msg)
		case msg.Subject == reply:
			if done, _ := p.ended(msg.Header.Get("Status"), msg.Header.Get("Description")); done {
				return got, true
			}
		}
	}
	return got, true
}

// ended reads a status message: whether it ends the request, and with what.
func (p *puller) ended(status, text string) (bool, error) {
	switch status {
	case "100":
		return false, nil
	case "404": // nothing there, or nothing more
		return true, nil
	case "408": // expired, or: others wait already for what is there
		if text == "Requests Pending" {
			return true, nats.ErrTimeout
		}
		return true, nil
	case "503":
		return true, nats.ErrNoResponders
	case "409":
		// Leadership Change, Server Shutdown, Consumer Deleted, Exceeded MaxWaiting: ask again;
		// a consumer that is gone answers 503 then.
		return true, nats.ErrTimeout
	}
	return true, fmt.Errorf("the server refuses the pull request: %s %s", status, text)
}

// next waits for a message as long as the server may be silent.
func (p *puller) next(ctx context.Context, quiet time.Duration) (*nats.Msg, error) {
	if msg, err := p.sub.NextMsg(0); err == nil { // one is here: spare the context
		return msg, nil
	}
	ctx, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	return p.sub.NextMsgWithContext(ctx)
}

// listen makes the inbox, or a new one when it was given up.
func (p *puller) listen() error {
	if p.sub != nil && p.sub.IsValid() {
		return nil
	}
	p.inbox = p.c.nc.NewInbox()
	sub, err := p.c.nc.SubscribeSync(p.inbox + ".*")
	if err != nil {
		return err
	}
	// A batch is bounded by the request; nats.go's own limits would drop messages.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	p.sub = sub
	return nil
}

// cancel gives the inbox up, which ends the standing request at the server, and
// returns what came in meanwhile, at most limit messages. A message that passes it on
// the wire is delivered again after AckWait.
func (p *puller) cancel(limit int) []*nats.Msg {
	sub := p.sub
	p.sub = nil
	if err := sub.Drain(); err != nil {
		return nil
	}
	// nats.go keeps a drained subscription, and a goroutine that looks at it, until what lies in it
	// was read: statuses nobody reads would keep both for good.
	defer func() { _ = sub.Unsubscribe() }() // an error: it has gone already
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_ = p.c.nc.FlushWithContext(ctx) // after its pong nothing more comes; without it, what is here counts
	var got []*nats.Msg
	for len(got) < limit {
		msg, err := sub.NextMsg(0)
		if err != nil {
			return got
		}
		if isDelivery(msg) {
			got = append(got, msg)
		}
	}
	return got
}

// isDelivery tells a stream's message from a status of the server: only the first
// can be acked. Headers do not tell: whoever publishes chooses them.
func isDelivery(msg *nats.Msg) bool { return strings.HasPrefix(msg.Reply, "$JS.ACK.") }
