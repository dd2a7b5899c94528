package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"
)

// topFlags are the flags of decom top.
type topFlags struct {
	once, asJSON bool
	filter       string
	interval     time.Duration
}

func newTopCommand(a *app) *cobra.Command {
	var f topFlags
	c := &cobra.Command{
		Use:   "top",
		Short: a.text("Vue en direct : comptes, débit, disjoncteurs, attente, doutes, alertes", "Live view: accounts, rate, breakers, backlog, doubts, alerts"),
		Long: a.text(`Montre ce que dit le processus de http.listen, sinon NATS et Redis, et se met à jour.
Touches : q quitter, / filtrer, s trier, flèches défiler. Sans terminal : --once ou --json.`,
			`Shows what the process at http.listen tells, else NATS and Redis, and goes on.
Keys: q quits, / filters, s sorts, arrows scroll. Without a terminal: --once or --json.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.top(c.Context(), f) },
	}
	fl := c.Flags()
	fl.BoolVar(&f.once, "once", false, "show it once and end")
	fl.BoolVar(&f.asJSON, "json", false, "the status as JSON, one object a line")
	fl.StringVar(&f.filter, "filter", "", "only accounts with this `text` in their name or a site's")
	fl.DurationVar(&f.interval, "interval", 2*time.Second, "time between two looks, at least 200ms")
	return c
}

// statusReader gets one status; it may be called again and again.
type statusReader func(context.Context) (Status, error)

func (a *app) top(ctx context.Context, f topFlags) error {
	if f.interval < 200*time.Millisecond {
		return a.usagef("--interval %s : au moins 200ms", "--interval %s: at least 200ms", f.interval)
	}
	c, err := a.loadConfig(needLook)
	if err != nil {
		return err
	}
	read := func(ctx context.Context) (Status, error) {
		s, err := askWorker(ctx, c)
		if err != nil {
			return askStores(ctx, c)
		}
		return s, nil
	}
	switch {
	case f.asJSON:
		return topJSON(ctx, a.stdout, read, f)
	case f.once:
		s, err := read(ctx)
		if err != nil {
			return err
		}
		v := topView{filter: f.filter, lang: a.lang, now: time.Now()}
		_, err = fmt.Fprintln(a.stdout, v.frame(nil, &s))
		return err
	case !isTerminal(a.stdout) || !isTerminal(a.stdin):
		return a.usagef("decom top demande un terminal : donner --once ou --json", "decom top needs a terminal: give --once or --json")
	}
	return a.topLive(ctx, read, f)
}

// topJSON writes a status a line, until ctx ends unless once is set.
func topJSON(ctx context.Context, w io.Writer, read statusReader, f topFlags) error {
	enc := json.NewEncoder(w)
	for {
		s, err := read(ctx)
		if err != nil {
			return err
		}
		s.Accounts = filterAccounts(s.Accounts, f.filter)
		if err := enc.Encode(s); err != nil || f.once {
			return err
		}
		select {
		case <-time.After(f.interval):
		case <-ctx.Done():
			return nil
		}
	}
}

// filterAccounts keeps those whose name, or a site's, holds the text.
func filterAccounts(all []AccountStatus, text string) []AccountStatus {
	text = strings.ToLower(text)
	kept := []AccountStatus{}
	for _, s := range all {
		if text == "" || slices.ContainsFunc(append([]string{s.Account}, s.Sites...), func(name string) bool {
			return strings.Contains(strings.ToLower(name), text)
		}) {
			kept = append(kept, s)
		}
	}
	return kept
}

// topLive runs the view on the terminal until somebody quits it or ctx ends.
func (a *app) topLive(ctx context.Context, read statusReader, f topFlags) error {
	m := &topModel{ctx: ctx, read: read, every: f.interval, view: topView{filter: f.filter, lang: a.lang, live: true}}
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(a.stdin), tea.WithOutput(a.stdout),
		tea.WithEnvironment(a.environ), tea.WithoutSignalHandler()) // main has the signals
	_, err := p.Run()
	if err != nil && errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// topModel is the live view's state. Owned by bubbletea's loop; ctx only ends reads.
type topModel struct {
	ctx   context.Context
	read  statusReader
	every time.Duration

	view    topView
	typing  bool // a filter is being typed
	prev    *Status
	cur     *Status
	lastErr error
}

// topSample is the message that a look has ended.
type topSample struct {
	status Status
	err    error
}

type topTick struct{}

func (m *topModel) look() tea.Msg {
	ctx, cancel := context.WithTimeout(m.ctx, 3*statusPatience)
	defer cancel()
	s, err := m.read(ctx)
	return topSample{s, err}
}

// Init takes the first look.
func (m *topModel) Init() tea.Cmd { return m.look }

// Update takes in one key, look or change of size.
func (m *topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case topSample:
		if m.lastErr = msg.err; msg.err == nil {
			m.prev, m.cur = m.cur, &msg.status
		}
		return m, tea.Tick(m.every, func(time.Time) tea.Msg { return topTick{} })
	case topTick:
		return m, m.look
	case tea.WindowSizeMsg:
		m.view.width, m.view.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.key(msg.String(), msg.Key().Text)
	}
	return m, nil
}

func (m *topModel) key(name, text string) tea.Cmd {
	if name == "ctrl+c" {
		return tea.Quit
	}
	if m.typing {
		switch name {
		case "enter":
			m.typing = false
		case "esc":
			m.typing, m.view.filter = false, ""
		case "backspace":
			if r := []rune(m.view.filter); len(r) > 0 {
				m.view.filter = string(r[:len(r)-1])
			}
		default:
			m.view.filter += text
		}
		m.view.offset = 0
		return nil
	}
	switch name {
	case "q", "esc":
		return tea.Quit
	case "/":
		m.typing, m.view.filter = true, ""
	case "s":
		m.view.sort = (m.view.sort + 1) % len(topSorts)
	case "up", "k":
		m.view.offset = max(m.view.offset-1, 0)
	case "down", "j":
		m.view.offset++
	}
	return nil
}

// View draws the screen.
func (m *topModel) View() tea.View {
	m.view.now, m.view.typing, m.view.err = time.Now(), m.typing, m.lastErr
	v := tea.NewView(m.view.frame(m.prev, m.cur))
	v.AltScreen = true
	return v
}
