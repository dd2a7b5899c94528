package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// getRequest asks the leader of a stream for one message: with Seq and NextFor the
// first of that subject from Seq on, with LastFor the last one.
type getRequest struct {
	Seq     uint64     `json:"seq,omitempty"`
	LastFor string     `json:"last_by_subj,omitempty"`
	NextFor string     `json:"next_by_subj,omitempty"`
	Start   *time.Time `json:"start_time,omitempty"`
}

type stored struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Header  []byte    `json:"hdrs,omitempty"`
	Data    []byte    `json:"data,omitempty"`
	Time    time.Time `json:"time"`
}

// get reads one message at the stream's leader. The direct get of nats.go, which
// any replica may answer, must not be used for the ledger: a replica may be behind.
// It repeats until ctx ends; nothing there is [ErrNotFound].
func (c *Conn) get(ctx context.Context, stream string, req getRequest) (*stored, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	for p := (pause{}); ; {
		m, err := c.getOnce(ctx, stream, body)
		if err == nil || !passing(err) {
			return m, err
		}
		if ctx.Err() != nil || p.wait(ctx) != nil {
			return nil, fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
	}
}

func (c *Conn) getOnce(ctx context.Context, stream string, body []byte) (*stored, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AnswerWait)
	defer cancel()
	msg, err := c.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, body)
	if err != nil {
		return nil, err
	}
	var resp struct {
		Error   *jetstream.APIError `json:"error"`
		Message *stored             `json:"message"`
	}
	if err := json.Unmarshal(msg.Data, &resp); err != nil {
		return nil, fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	switch {
	case resp.Error == nil && resp.Message != nil:
		return resp.Message, nil
	case resp.Error == nil:
		return nil, errors.New("the server's answer is empty")
	case resp.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, ErrNotFound
	case resp.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		return nil, notSetUp("stream " + stream)
	}
	return nil, resp.Error
}

// header returns one value of a stored message's header.
func (m *stored) header(key string) string {
	if len(m.Header) == 0 {
		return ""
	}
	h, err := nats.DecodeHeadersMsg(m.Header)
	if err != nil {
		return ""
	}
	return h.Get(key)
}

// again repeats a call that may be repeated until it succeeds, fails for good, or
// ctx ends.
func again[T any](ctx context.Context, wait time.Duration, call func(context.Context) (T, error)) (T, error) {
	for p := (pause{}); ; {
		one, cancel := context.WithTimeout(ctx, wait)
		v, err := call(one)
		cancel()
		if err == nil || !passing(err) {
			return v, err
		}
		if ctx.Err() != nil || p.wait(ctx) != nil {
			return v, fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
	}
}

func notSetUp(what string) error {
	return fmt.Errorf("%w: %s does not exist; run: decom setup", ErrNotSetUp, what)
}
