package wwks2

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxSessions bounds the connections of stock systems to one robot.
	maxSessions = 64
	// lastWords is how long a connection that has to end is still read: what the robot said
	// before is in the socket, and no one else will hear it.
	lastWords = 50 * time.Millisecond
)

// Addr is where stock systems connect, in line.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// inLine passes connections on until ctx ends.
func (l *Listener) inLine(ctx context.Context) error {
	var pump, keep, sessions sync.WaitGroup
	pump.Go(func() { l.pump(ctx) })
	heard, end := context.WithCancel(context.WithoutCancel(ctx)) // what the last session hears is kept, too
	keep.Go(func() { l.tap.run(heard) })
	stop := context.AfterFunc(ctx, func() { _ = l.ln.Close() })
	defer stop()
	places := make(chan struct{}, maxSessions)
	out := outage{l: l}
	var err error
	for ctx.Err() == nil {
		conn, aerr := l.ln.Accept()
		if errors.Is(aerr, net.ErrClosed) {
			if ctx.Err() == nil {
				err = aerr
			}
			break
		}
		if aerr != nil { // out of descriptors: others may close some
			time.Sleep(10 * time.Millisecond)
			continue
		}
		select {
		case places <- struct{}{}:
			sessions.Go(func() {
				defer func() { <-places }()
				l.relay(ctx, conn.(*net.TCPConn), &out)
			})
		default:
			l.log.Error("WWKS 2: too many connections of stock systems, one is refused", "most", maxSessions)
			reset(conn.(*net.TCPConn))
		}
	}
	sessions.Wait()
	end()
	keep.Wait()
	pump.Wait()
	return err
}

// outage tells once that the robot is away, and once that it is back.
type outage struct {
	l    *Listener
	away atomic.Bool
}

func (o *outage) seen(err error) {
	switch {
	case err != nil && !o.away.Swap(true):
		o.l.log.Error("WWKS 2: the robot cannot be reached, the stock system's connections are refused", "err", err)
	case err == nil && o.away.Swap(false):
		o.l.log.Info("WWKS 2: the robot can be reached again")
	}
	if err != nil {
		o.l.deps.Trouble(o.l.cfg.Site, NoRobot)
	}
}

// reset ends a connection as a peer that is gone does.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// relay is one connection of a stock system, passed on to the robot until both have said
// all, or one is gone.
func (l *Listener) relay(ctx context.Context, stock *net.TCPConn, out *outage) {
	dialer := net.Dialer{Timeout: dialTime}
	conn, err := dialer.DialContext(ctx, "tcp", l.cfg.Upstream)
	if ctx.Err() == nil {
		out.seen(err)
	}
	if err != nil {
		reset(stock)
		return
	}
	robot := conn.(*net.TCPConn)
	p := pair{stock: stock, robot: robot}
	defer context.AfterFunc(ctx, p.end)()
	l.log.Info("WWKS 2: a stock system is connected to the robot", "stock_system", stock.RemoteAddr().String(), "mode", l.cfg.Mode)
	var ways sync.WaitGroup
	for _, way := range []struct{ to, from *net.TCPConn }{{stock, robot}, {robot, stock}} {
		ways.Go(func() { p.pass(way.to, way.from, &ear{tap: l.tap}) })
	}
	ways.Wait()
	if p.broken.Load() {
		reset(stock)
		reset(robot)
	} else {
		_, _ = stock.Close(), robot.Close()
	}
	l.log.Info("WWKS 2: the stock system's connection has ended", "stock_system", stock.RemoteAddr().String(), "reset", p.broken.Load())
}

// pair is the two connections of a session.
type pair struct {
	stock, robot *net.TCPConn
	broken       atomic.Bool // one side was reset: the other one is, too
}

// end has both connections end after lastWords.
func (p *pair) end() {
	soon := time.Now().Add(lastWords)
	_ = p.stock.SetDeadline(soon)
	_ = p.robot.SetDeadline(soon)
}

// pass sends on what one side says, as it comes, until it has said all; then that half of
// the other connection is closed. What is heard is kept before it is sent on: whoever
// kills this process in between makes the robot's client connect again, and nothing that
// it was told is unknown here.
func (p *pair) pass(to, from *net.TCPConn, e *ear) {
	defer e.end()
	buf := make([]byte, 64<<10)
	for deaf := false; ; {
		n, err := from.Read(buf)
		if n > 0 {
			e.hear(buf[:n])
			if !deaf {
				if _, werr := to.Write(buf[:n]); werr != nil {
					deaf = true // it is gone; what the other one said before is still heard
					p.broken.Store(true)
					p.end()
				}
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite()
			return
		default:
			if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() { // else p.end was called
				p.broken.Store(true)
			}
			p.end()
			return
		}
	}
}

// ear cuts one way of a session into documents. Nothing that goes wrong in it reaches the bytes.
type ear struct {
	tap    *tap
	frames framer
}

func (e *ear) hear(b []byte) {
	defer func() {
		if p := recover(); p != nil {
			e.frames = framer{}
			e.tap.trouble(Broken, "own fault: a packet was passed on and not heard", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	before := e.frames.skipped
	for _, doc := range e.frames.add(b) {
		if doc != nil && tellsOfPacks(doc) {
			e.tap.heard(doc)
		}
	}
	if n := e.frames.skipped - before; n > 0 {
		e.tap.trouble(CutOff, "documents were cut off or too long: passed on, and not heard", "documents", n)
	}
}

// end tells of a document without its end. The other side has it no more whole than we.
func (e *ear) end() {
	if rest := e.frames.rest(); rest > 0 {
		e.tap.trouble(CutOff, "the connection ended inside a document", "bytes", rest)
	}
}
