package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What the libraries say of a wrong command line is English, and speaks of Go. Here it is said
// anew: what is wrong, with which flag or word, and how it is written.

// speakUsage gives every command of the tree these words.
func (a *app) speakUsage(c *cobra.Command) {
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return a.flagError(err) })
	if a.lang == french {
		c.SetUsageTemplate(frenchHelp.Replace(c.UsageTemplate()))
		frenchFlags(c)
	}
	a.speakArgs(c)
}

func (a *app) speakArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if _, ours := errors.AsType[*exitError](err); err == nil || ours {
				return err
			}
			return a.argsError(c, args, check)
		}
	}
	for _, sub := range c.Commands() {
		a.speakArgs(sub)
	}
}

// argsError says which argument is too many or missing.
func (a *app) argsError(c *cobra.Command, args []string, check cobra.PositionalArgs) error {
	path := c.CommandPath()
	switch {
	case c.HasSubCommands() && len(args) > 0:
		return unknownCommand(c, args[0])
	case check(c, nil) == nil && check(c, args[:1]) != nil:
		return a.usagef("%[2]s ne prend pas d'argument : %[1]q est de trop", "%[2]s takes no argument: %[1]q is one too many", args[0], path)
	}
	for n := len(args) - 1; n > 0; n-- {
		if check(c, args[:n]) == nil {
			return a.usagef("%q est un argument de trop", "%q is an argument too many", args[n])
		}
	}
	return a.usagef("il manque un argument", "an argument is missing")
}

// unknownCommand names the commands that may have been meant.
func unknownCommand(c *cobra.Command, word string) error {
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(word); len(near) > 0 {
		return spokenUsagef("%s n'a pas de commande %q ; proche : %s", "%s has no command %q; near: %s", c.CommandPath(), word, strings.Join(near, ", "))
	}
	return spokenUsagef("%[1]s n'a pas de commande %[2]q ; %[1]s --help les montre toutes", "%[1]s has no command %[2]q; %[1]s --help shows them all", c.CommandPath(), word)
}

// flagError says what is wrong with a flag.
func (a *app) flagError(err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := "--" + e.GetSpecifiedName()
		if e.GetSpecifiedShortnames() != "" {
			name = "-" + e.GetSpecifiedName()
		}
		return a.usagef("%s : cette option n'existe pas", "%s: there is no such flag", name)
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return a.usagef("--%s : il manque une valeur", "--%s: a value is missing", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return a.usagef("--%s %q : donner %s", "--%s %q: give %s", e.GetFlag().Name, e.GetValue(), a.wantedValue(e.GetFlag().Value.Type()))
	}
	if e, ok := errors.AsType[*pflag.InvalidSyntaxError](err); ok {
		return a.usagef("%q ne s'écrit pas ainsi : --option=valeur", "%q is not how a flag is written: --flag=value", e.GetSpecifiedFlag())
	}
	return exitWith(exitUsage, err)
}

// wantedValue describes a flag's type, as pflag names it.
func (a *app) wantedValue(kind string) string {
	switch kind {
	case "duration":
		return a.text("une durée avec son unité, comme 30s, 5m ou 8h", "a duration with its unit, as 30s, 5m or 8h")
	case "bool":
		return a.text("true ou false", "true or false")
	case "int", "int64":
		return a.text("un nombre entier", "a whole number")
	case "uint", "uint64":
		return a.text("un nombre entier, pas négatif", "a whole number, not negative")
	case "float64":
		return a.text("un nombre, comme 4.5", "a number, as 4.5")
	}
	return fmt.Sprintf(a.text("une valeur du type %s", "a value of the type %s"), kind)
}

// frenchHelp puts the frame of cobra's help texts into French.
var frenchHelp = strings.NewReplacer("Usage:", "Usage :", "Aliases:", "Synonymes :", "Examples:", "Exemples :", "Available Commands:", "Commandes :",
	"Additional Commands:", "Autres commandes :", "Global Flags:", "Options communes :", "Flags:", "Options :",
	"Additional help topics:", "Autres sujets d'aide :", "Use \"", "« ", " [command] --help\" for more information about a command.", " [command] --help » en dit plus sur une commande.")
