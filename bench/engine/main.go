// Command engine is a stream engine of the kind of Redpanda Connect, built from the parts that are free and can be had: the
// engine itself, its pipelines, dedupe and HTTP client (redpanda-data/benthos, MIT). Its NATS and Redis parts are under
// another licence; the three below do what their documentation says, in the plain way. `decom bench run --side-by-side
// --engine PROGRAM` runs it; a module of its own keeps decom's build small.
package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
)

func main() {
	input := service.NewConfigSpec().Fields(service.NewStringField("url"), service.NewStringField("stream"),
		service.NewStringField("subject"), service.NewStringField("durable"), service.NewDurationField("ack_wait").Default("30s"))
	must(service.RegisterInput("nats_jetstream", input, newInput))
	output := service.NewConfigSpec().Fields(service.NewStringField("url"), service.NewInterpolatedStringField("subject"),
		service.NewInterpolatedStringField("id"), service.NewOutputMaxInFlightField())
	must(service.RegisterOutput("nats_jetstream", output, newOutput))
	must(service.RegisterCache("redis", service.NewConfigSpec().Fields(service.NewStringField("url")), newCache))
	service.RunCLI(context.Background())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// input reads a durable pull consumer; ack and nack are the message's.
type input struct {
	url, stream, subject, durable string
	wait                          time.Duration
	nc                            *nats.Conn
	msgs                          jetstream.MessagesContext
}

func newInput(c *service.ParsedConfig, _ *service.Resources) (service.Input, error) {
	in := &input{}
	for name, to := range map[string]*string{"url": &in.url, "stream": &in.stream, "subject": &in.subject, "durable": &in.durable} {
		var err error
		if *to, err = c.FieldString(name); err != nil {
			return nil, err
		}
	}
	var err error
	in.wait, err = c.FieldDuration("ack_wait")
	return in, err
}

func (in *input) Connect(ctx context.Context) (err error) {
	if in.nc, err = nats.Connect(in.url); err != nil {
		return err
	}
	js, err := jetstream.New(in.nc)
	if err != nil {
		return err
	}
	cons, err := js.CreateOrUpdateConsumer(ctx, in.stream, jetstream.ConsumerConfig{Durable: in.durable,
		FilterSubject: in.subject, AckPolicy: jetstream.AckExplicitPolicy, AckWait: in.wait})
	if err != nil {
		return err
	}
	in.msgs, err = cons.Messages(jetstream.PullMaxMessages(64))
	return err
}

func (in *input) Read(ctx context.Context) (*service.Message, service.AckFunc, error) {
	m, err := in.msgs.Next(jetstream.NextContext(ctx))
	if err != nil {
		return nil, nil, err
	}
	out := service.NewMessage(m.Data())
	out.MetaSetMut("nats_subject", m.Subject())
	return out, func(_ context.Context, err error) error {
		if err != nil {
			return m.Nak()
		}
		return m.Ack()
	}, nil
}

func (in *input) Close(context.Context) error {
	if in.nc != nil {
		in.nc.Close()
	}
	return nil
}

// output publishes one message and waits for its acknowledgement.
type output struct {
	url         string
	subject, id *service.InterpolatedString
	nc          *nats.Conn
	js          jetstream.JetStream
}

func newOutput(c *service.ParsedConfig, _ *service.Resources) (_ service.Output, most int, err error) {
	out := &output{}
	if out.url, err = c.FieldString("url"); err != nil {
		return nil, 0, err
	}
	if out.subject, err = c.FieldInterpolatedString("subject"); err != nil {
		return nil, 0, err
	}
	if out.id, err = c.FieldInterpolatedString("id"); err != nil {
		return nil, 0, err
	}
	most, err = c.FieldMaxInFlight()
	return out, most, err
}

func (out *output) Connect(context.Context) (err error) {
	if out.nc, err = nats.Connect(out.url); err != nil {
		return err
	}
	out.js, err = jetstream.New(out.nc)
	return err
}

func (out *output) Write(ctx context.Context, m *service.Message) error {
	subject, err := out.subject.TryString(m)
	if err != nil {
		return err
	}
	id, err := out.id.TryString(m)
	if err != nil {
		return err
	}
	body, err := m.AsBytes()
	if err != nil {
		return err
	}
	_, err = out.js.Publish(ctx, subject, body, jetstream.WithMsgID(id))
	return err
}

func (out *output) Close(context.Context) error {
	if out.nc != nil {
		out.nc.Close()
	}
	return nil
}

// cache keeps keys in Redis.
type cache struct{ rdb *redis.Client }

func newCache(c *service.ParsedConfig, _ *service.Resources) (service.Cache, error) {
	url, err := c.FieldString("url")
	if err != nil {
		return nil, err
	}
	opt, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return &cache{redis.NewClient(opt)}, nil
}

func life(ttl *time.Duration) time.Duration {
	if ttl == nil {
		return 0
	}
	return *ttl
}

func (c *cache) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := c.rdb.Get(ctx, key).Bytes()
	if err == redis.Nil {
		return nil, service.ErrKeyNotFound
	}
	return b, err
}

func (c *cache) Set(ctx context.Context, key string, value []byte, ttl *time.Duration) error {
	return c.rdb.Set(ctx, key, value, life(ttl)).Err()
}

func (c *cache) Add(ctx context.Context, key string, value []byte, ttl *time.Duration) error {
	ok, err := c.rdb.SetNX(ctx, key, value, life(ttl)).Result()
	if err == nil && !ok {
		return service.ErrKeyAlreadyExists
	}
	return err
}

func (c *cache) Delete(ctx context.Context, key string) error { return c.rdb.Del(ctx, key).Err() }

func (c *cache) Close(context.Context) error { return c.rdb.Close() }
