package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/deedgo/deed/driver"
)

// Two tables are parts of pages that people write: each stands between two comments.
const (
	tableBegins = "<!-- Written by \"go run ./internal/enginesdoc\". -->\n"
	tableEnds   = "<!-- End of what is written. -->\n"
)

// put replaces the table of a page.
func put(page []byte, table string) ([]byte, error) {
	before, rest, ok := bytes.Cut(page, []byte(tableBegins))
	_, after, ended := bytes.Cut(rest, []byte(tableEnds))
	if !ok || !ended {
		return nil, fmt.Errorf("it has no place for the table (want %q and %q)", tableBegins, tableEnds)
	}
	return slices.Concat(before, []byte(tableBegins), []byte(table), []byte(tableEnds), after), nil
}

// featuresOf returns what an engine promises.
func featuresOf(asked []opened, url string) (driver.Features, error) {
	i := slices.IndexFunc(asked, func(o opened) bool { return o.url == url })
	if i < 0 {
		return driver.Features{}, fmt.Errorf("%s: nobody has asked this engine (add it to open)", url)
	}
	return asked[i].features, nil
}

// guaranteesTable says which engine keeps which guarantee, by whose means.
func guaranteesTable(asked []opened) (string, error) {
	var b strings.Builder
	line, rule := "| guarantee |", "|---|"
	for _, e := range engines {
		if e.how != [guaranteeCount]string{} {
			line, rule = line+" `"+e.url+"` |", rule+"---|"
		}
	}
	fmt.Fprintln(&b, line)
	fmt.Fprintln(&b, rule)
	for i, g := range guarantees {
		fmt.Fprintf(&b, "| [%d. %s](#%d-%s) |", i+1, g.name, i+1, strings.ReplaceAll(strings.ToLower(g.name), " ", "-"))
		for _, e := range engines {
			if e.how == [guaranteeCount]string{} {
				continue
			}
			f, err := featuresOf(asked, e.url)
			if err != nil {
				return "", err
			}
			cell, err := g.cell(e.how[i], f)
			if err != nil {
				return "", fmt.Errorf("%s: %s: %w", e.url, g.name, err)
			}
			if i == 0 && g.keeps(f) {
				cell += "; class **" + f.Durability.String() + "**"
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		fmt.Fprintln(&b)
	}
	return b.String(), nil
}

// cell says how an engine keeps the guarantee, or that it does not. What is written about
// it has to agree with what it promises.
func (g *guarantee) cell(how string, f driver.Features) (string, error) {
	if !g.keeps(f) {
		if how != "" {
			return "", fmt.Errorf("its features refuse what is kept by %q", how)
		}
		return "**refused**", nil
	}
	if !strings.HasPrefix(how, native) && !strings.HasPrefix(how, own) {
		return "", fmt.Errorf("its features promise it, and %q does not say by whose means (want %q or %q)", how, native, own)
	}
	for _, p := range g.parts {
		if !p.has(f) {
			how += "; **refused**: " + p.text
		}
	}
	return how, nil
}

// refusals are what people miss first, in the order in which they do.
var refusals = []part{
	{"groups, retries and dead letters", func(f driver.Features) bool { return f.Groups }},
	{"retries and dead letters by itself", func(f driver.Features) bool { return f.SideLog || !f.Groups }},
	{"replays", func(f driver.Features) bool { return f.Reset || !f.Groups }},
	{"what was published before a group was made", func(f driver.Features) bool { return f.Backlog || !f.Groups }},
	{"id windows", func(f driver.Features) bool { return f.Dedupe || !f.Groups }},
	{"delayed events", func(f driver.Features) bool { return f.Delay || !f.Groups }},
	{"retention that waits for groups", func(f driver.Features) bool { return f.Retention || !f.Groups }},
	{"topics of streams", func(f driver.Features) bool { return f.Streams || !f.Groups }},
}

// readmeTable is the README's: what to open, for what, and what it does not do.
func readmeTable(asked []opened) (string, error) {
	var b strings.Builder
	fmt.Fprint(&b, "| engine | URL | for | an accepted event survives | it refuses |\n|---|---|---|---|---|\n")
	for _, e := range engines {
		f, err := featuresOf(asked, e.url)
		if err != nil {
			return "", err
		}
		var without []string
		for _, p := range refusals {
			if !p.has(f) {
				without = append(without, p.text)
			}
		}
		refused := strings.Join(without, ", ")
		if refused == "" {
			refused = "–"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", e.name, e.example, e.purpose, surviving(f), refused)
	}
	return b.String(), nil
}
