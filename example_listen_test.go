package deed_test

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
)

// [sensors]

// Temperature is what a sensor announces.
type Temperature struct {
	Sensor  string  `json:"sensor"`
	Celsius float64 `json:"celsius"`
}

// Sensors stands for the topics of all sensors, and Measured is announced on them.
var (
	Sensors  = deed.NewPattern("sensors.*")
	Measured = deed.NewType(Sensors, "sensors.measured", 1, func(t Temperature) string { return t.Sensor })
)

// [sensors]

func ExampleListen() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	// [open]
	bus, err := engine.Open(ctx, "mem+pubsub:", &deed.Options{Source: "/sensors"}) // or redis+pubsub://localhost:6379
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	// [open]
	go func() {
		for ctx.Err() == nil {
			// [announce]
			hall := deed.NewTopic("sensors.hall", nil)
			if err := bus.Publish(ctx, Measured.New(Temperature{Sensor: "hall", Celsius: 21.5}).To(hall)); err != nil {
				log.Print(err) // it was not announced, or nobody knows whether it was
			}
			// [announce]
			time.Sleep(time.Millisecond)
		}
	}()
	show := sync.OnceFunc(func() { fmt.Println("the hall is warm") })
	// [listen]
	thermostat := deed.Listen("thermostat", nil,
		deed.On(Measured, func(ctx context.Context, e deed.Received[Temperature]) error {
			if e.Topic == "sensors.hall" && e.Data.Celsius > 21 {
				show()
				stop() // a service goes on until it is told to end
			}
			return nil
		}))
	if err := bus.Run(ctx, thermostat); err != nil {
		log.Fatal(err)
	}
	// [listen]

	// Output: the hall is warm
}
