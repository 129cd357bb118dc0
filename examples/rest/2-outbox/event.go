package main

import "github.com/deedgo/deed"

// [event]

// BookingMade says that somebody booked seats for a show. It says what the others
// need and no more: the customer's name stays here.
type BookingMade struct {
	BookingID int64  `json:"booking_id"`
	Show      string `json:"show"`
	Seats     int    `json:"seats"`
}

var bookingsTopic = deed.NewTopic("bookings", nil)

// The key is the show: the bookings of one show are handled in order.
var bookingMade = deed.NewType(bookingsTopic, "bookings.made", 1, func(m BookingMade) string { return m.Show })

// [event]
