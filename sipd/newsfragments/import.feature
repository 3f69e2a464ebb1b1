`sipd import kamailio` takes the users and contacts of a Kamailio, names every row that it cannot take, and can be run again.
