package cli

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/bridge"
	"github.com/deedgo/deed/engine/deedmqtt"
)

type bridgeFlags struct {
	name, in, topic, out, share string
	retained                    bool
}

func newBridge(a *app) *cobra.Command {
	var f bridgeFlags
	cmd := &cobra.Command{
		Use:   "bridge BROKER",
		Short: "Carry events between an MQTT broker and topics",
		Long: "Carry what is published under an MQTT filter into a topic, a topic's events to the broker, or both, until\n" +
			"Ctrl-C. Each side is told that an event has arrived only after the other has it.\n\n" +
			"The broker keeps what is published while the bridge is away, for a day, under the bridge's name: one\n" +
			"bridge at a time runs under it. An event goes back to where it was published (its mqtttopic), else to the\n" +
			"topic's name with slashes for dots.",
		Example: "  deed bridge mqtt://localhost --in 'sensors/#' --topic readings\n" +
			"  deed bridge mqtts://gw:secret@broker --name yard --in 'yard/#' --topic yard --out yard.commands",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.bridge(cmd, args[0], f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.name, "name", "deed", "the bridge's `name` at the broker")
	fl.StringVar(&f.in, "in", "", "carry what is published under this MQTT `filter` ...")
	fl.StringVar(&f.topic, "topic", "", "... into this `topic`, which is created when it is not there")
	fl.StringVar(&f.out, "out", "", "carry this `topic`'s events to the broker")
	fl.StringVar(&f.share, "share", "", "divide what comes in among all bridges that share this `name`; its order is lost")
	fl.BoolVar(&f.retained, "retained", false, "carry in what the broker keeps of each topic, too")
	return cmd
}

func (f bridgeFlags) check(broker string) error {
	if err := deedmqtt.CheckURL(broker); err != nil {
		return usageError{err.Error()}
	}
	if err := deed.CheckName("bridge", f.name); err != nil {
		return usageError{err.Error()}
	}
	switch {
	case f.in == "" && f.out == "":
		return usagef("nothing to carry: want --in FILTER --topic TOPIC, or --out TOPIC, or both")
	case f.in != "" && f.topic == "":
		return usagef("--in %s: into which topic? (--topic TOPIC)", f.in)
	case f.in == "" && (f.topic != "" || f.share != "" || f.retained):
		return usagef("--topic, --share and --retained belong to --in FILTER")
	}
	if f.in != "" {
		if err := deedmqtt.CheckFilter(f.in); err != nil {
			return usageError{"--in: " + err.Error()}
		}
	}
	return nil
}

func (a *app) bridge(cmd *cobra.Command, broker string, f bridgeFlags) error {
	if err := f.check(broker); err != nil {
		return err
	}
	mode := toRead
	if f.in != "" {
		mode = toWrite
	}
	bus, err := a.openWith(cmd.Context(), mode, deed.Options{Source: "/mqtt/" + f.name})
	if err != nil {
		return err
	}
	defer bus.Close()
	var both []deed.Runner
	if f.in != "" {
		topic, err := pubTopic(cmd.Context(), bus, f.topic, false)
		if err != nil {
			return err
		}
		both = append(both, &bridge.In{
			Broker: broker, Name: f.name, Filter: f.in, Topic: topic, Share: f.share, Retained: f.retained,
			Ready:  func() { a.say("carrying %s on the broker into topic %s", f.in, f.topic) },
			Logger: slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		})
	}
	if f.out != "" {
		info, err := topicInfo(cmd.Context(), bus, f.out)
		if err != nil {
			return err
		}
		both = append(both, &bridge.Out{Broker: broker, Name: f.name, Topic: declare(bus, info)})
	}
	return bus.Run(cmd.Context(), both...)
}
