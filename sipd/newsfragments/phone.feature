Programs have a telephone: `sipd.ua.Phone` dials, answers, registers and transfers in coroutines; its calls play, record, echo, send and collect digits, hold, and meet in conferences.
