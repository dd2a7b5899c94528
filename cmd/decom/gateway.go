package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"decom/queue"
	httpdoor "decom/queue/doors/http"
	"decom/worker/packstate"
	"decom/worker/scan"
)

func newGatewayCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "gateway",
		Short: a.text("Les portes seules (HTTP, dossiers, WWKS 2) vers la file, sans NMVS", "The doors alone (HTTP, folders, WWKS 2) to the queue, without NMVS"),
		Long: a.text(`Ouvre les portes de la section doors de la configuration, jusqu'à ce qu'on l'arrête. Ne demande que
NATS ; decom run, ici ou ailleurs, fait le travail. decom run ouvre les mêmes portes lui-même : la
passerelle est pour une machine qui ne doit rien savoir du NMVS. http.listen donne /livez, /readyz et
/metrics.`,
			`Opens the doors of the configuration's section doors until it is stopped. It needs NATS only; decom
run, here or elsewhere, does the work. decom run opens the same doors itself: the gateway is for a
machine that must know nothing of NMVS. http.listen gives /livez, /readyz and /metrics.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.gateway(c.Context()) },
	}
	c.AddCommand(newTokenCommand(a))
	return c
}

// gateway runs the doors and nothing else.
func (a *app) gateway(ctx context.Context) error {
	c, err := a.loadConfig(needQueue | needDoors)
	if err != nil {
		return err
	}
	if !c.Doors.open() {
		return exitWith(exitConfig, spokenf("configuration : aucune porte : donner doors.http.listen, doors.files, doors.wwks2 ou doors.consolidated", "configuration: no door is configured: set doors.http.listen, doors.files, doors.wwks2 or doors.consolidated"))
	}
	log := newLogger(a.stderr, c.Log, new(slog.LevelVar))
	in, err := openInLine(ctx, c, log)
	if err != nil {
		return err
	}
	defer in.stop()
	web, end := (&gatewayWeb{in: in}).open(ctx, c.HTTP.Listen, log) // before NATS, which is perhaps waited for
	defer end()
	var conn *queue.Conn
	err = in.patiently(ctx, log, func() (err error) { conn, err = c.connectQueue(ctx); return err })
	if err != nil {
		return err
	}
	defer conn.Close()
	defer in.stop()
	if c.NATS.URL == "" {
		if _, err := setUp(ctx, conn, &c.Config, false); err != nil {
			return err
		}
	}
	store := c.openStoreToRead(ctx, log)
	if store != nil {
		defer func() { _ = store.Close() }()
	}
	in.conn.Store(conn)
	d, err := openDoors(c, conn, store, in.met, log)
	if err != nil {
		return exitWith(exitConfig, err)
	}
	log.Info("decom gateway is open", "doors", append(d.names(), in.list.names()...), "http", web)
	if err := d.run(ctx); err != nil {
		return err
	}
	<-ctx.Done() // with nothing but robots in line d has nothing to serve
	log.Info("decom gateway has closed", "cause", context.Cause(ctx))
	return nil
}

// openStoreToRead opens Redis where there is one, to tell where a pack stands. The
// gateway does without it if it must.
func (c *loaded) openStoreToRead(ctx context.Context, log *slog.Logger) *packstate.Store {
	cfg, err := c.storeConfig()
	if err != nil || cfg.Embedded() || len(c.Accounts) == 0 {
		return nil
	}
	store, err := packstate.Open(ctx, cfg)
	if err != nil {
		log.Warn("Redis cannot be reached: this gateway does not tell where packs stand", "err", err)
		return nil
	}
	return store
}

// tokenFlags are the flags of decom gateway token.
type tokenFlags struct{ site, device, file, note string }

func newTokenCommand(a *app) *cobra.Command {
	var f tokenFlags
	c := &cobra.Command{
		Use:   "token",
		Short: a.text("Créer le jeton d'un appareil", "Make a device's token"),
		Long: a.text(`Crée un jeton pour un appareil et l'affiche, une seule fois. Le fichier des jetons n'en reçoit que
l'empreinte ; ôter la ligne retire le jeton, sans redémarrage. --device "*" vaut pour tout le site.`,
			`Makes a token for a device and prints it, this once. The tokens file gets its hash only; taking the
line out revokes the token, without a restart. --device "*" speaks for the whole site.`),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.makeToken(f) },
	}
	c.Flags().StringVar(&f.site, "site", "", "site that the token speaks for")
	c.Flags().StringVar(&f.device, "device", "", "device that the token speaks for, or *")
	c.Flags().StringVar(&f.file, "file", "", "tokens file; default: doors.http.tokens of the configuration")
	c.Flags().StringVar(&f.note, "note", "", "a remark for the line")
	return c
}

func (a *app) makeToken(f tokenFlags) error {
	if f.site == "" || f.device == "" {
		return a.usagef("--site et --device manquent : ils disent pour qui vaut le jeton", "--site and --device are missing: they say whom the token speaks for")
	}
	if f.file == "" {
		c, _, err := a.readLayers()
		if err != nil {
			return exitWith(exitConfig, err)
		}
		if f.file = c.Doors.HTTP.Tokens; f.file == "" {
			return a.usagef("--file manque, et la configuration n'a pas de doors.http.tokens", "--file is missing, and the configuration has no doors.http.tokens")
		}
	}
	if !scan.ValidToken(f.site) {
		return badToken("--site", f.site)
	}
	if f.device != "*" && !scan.ValidToken(f.device) {
		return badToken("--device", f.device)
	}
	secret, line, err := httpdoor.NewToken(httpdoor.Principal{Site: f.site, Device: f.device})
	if err != nil {
		return err
	}
	if note := strings.Join(strings.Fields(f.note), " "); note != "" {
		line += "  " + note
	}
	if err := appendLine(f.file, line); err != nil {
		return err
	}
	// The token alone on stdout: TOKEN=$(decom gateway token ...) works.
	fmt.Fprintln(a.stdout, secret)
	fmt.Fprintln(a.stderr, a.text("Jeton de "+f.site+"/"+f.device+", affiché cette seule fois ; son empreinte est dans "+f.file,
		"Token of "+f.site+"/"+f.device+", shown this once; its hash is in "+f.file))
	return nil
}

// appendLine adds a line to a file of secrets, on a line of its own whatever the last one
// ends in.
func appendLine(name, line string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, st.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := fmt.Fprintln(f, line); err != nil {
		return err
	}
	return f.Sync()
}
